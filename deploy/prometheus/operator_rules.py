"""The address of the runbooks in the rules, and the rules as the Prometheus operator takes them.

Prints the manifest of `kubernetes/processor`. First it puts the address into `rules.yml` and its tests:
that of the environment variable RUNBOOKS, or without it `RUNBOOKS` below.
"""

import os
import re
from pathlib import Path

#: Where the runbooks are: the page that has one heading for each alert.
RUNBOOKS = "https://git.example.org/feedback-metrics/blob/main/docs/how-to/operate.md"

RULES = Path(__file__).with_name("rules.yml")
TESTS = sorted(RULES.parent.glob("*rules_test.yml"))
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


def with_runbooks(text: str, address: str) -> str:
    """The text with the address in every `runbook_url`, before the name of the alert."""
    return re.sub(
        r"(runbook_url: )(?:\S*#)?(\w+)$",
        lambda found: f"{found[1]}{address}#{found[2].lower()}",
        text,
        flags=re.MULTILINE,
    )


def manifest() -> str:
    """The text of `rules.yml`, comments too, below the manifest's head."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


def main() -> None:
    """Write the address into the rules and their tests, and print the manifest."""
    address = os.environ.get("RUNBOOKS") or RUNBOOKS
    for path in (RULES, *TESTS):
        text = path.read_text(encoding="utf-8")
        changed = with_runbooks(text, address)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
    print(manifest(), end="")


if __name__ == "__main__":
    main()
