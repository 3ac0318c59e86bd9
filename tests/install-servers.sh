#!/bin/sh
# Installs what the tests run for real and pip can't bring: Java and Maven (for Kafka, Elasticsearch
# and the CloudEvents SDK), Prometheus, Chromium, openssl (for certificates), setpriv (Elasticsearch
# refuses to be root).
set -eu

missing=
command -v javac >/dev/null || missing="$missing default-jdk-headless"
command -v mvn >/dev/null || missing="$missing maven"
command -v promtool >/dev/null || missing="$missing prometheus"
command -v openssl >/dev/null || missing="$missing openssl"
command -v setpriv >/dev/null || missing="$missing util-linux"
# For the pages: Debian calls it chromium, others chromium-browser.
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$missing chromium"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "The tests need:$missing. Install these packages, then run 'make test' again." >&2
    exit 1
fi
echo "Installing the Debian packages that the tests need, on this machine:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# No service of the package is to run: the tests start their own.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
# shellcheck disable=SC2086  # a list of packages
apt-get install -y -qq --no-install-recommends $missing >/dev/null
