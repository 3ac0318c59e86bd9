"""The rules as the Prometheus operator takes them; prints the manifest of `kubernetes/processor`."""

from pathlib import Path

RULES = Path(__file__).with_name("rules.yml")
HEAD = """\
# Made by `make dashboard` from deploy/prometheus/rules.yml: change them there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: feedback-metrics-processor
  labels:
    # kube-prometheus-stack takes only what carries the name of its release.
    release: kube-prometheus-stack
spec:
"""


def manifest() -> str:
    """The text of `rules.yml`, comments too, below the manifest's head."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


if __name__ == "__main__":
    print(manifest(), end="")
