"""The Helm chart, rendered by Helm: valid objects, those of the kustomization for the same values."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.settings import Settings
from tests.support.manifests import (
    DEPLOY,
    PROCESSOR,
    Manifest,
    read_one,
    resources,
    setup_cfg,
    validate,
)

CHART = DEPLOY / "helm" / "feedback-metrics-processor"
#: Pip installs Helm beside Python.
HELM = Path(sys.executable).with_name("helm")
#: Labels that Helm's conventions ask for, and kustomize does not set.
_HELM_LABELS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
_DIGEST = "sha256:" + "0" * 64

#: Values of the kinds of installs that docs/how-to/deploy.md names.
INSTALLS: dict[str, dict[str, Any]] = {
    "embedded": {"replicas": 1, "settings": {"PROCESSOR_BROKER": None, "PROCESSOR_ARCHIVE": None}},
    "secured": {
        "image": {"repository": "registry.example.com/ml/processor", "digest": _DIGEST},
        "secretName": "logins",
        "settings": {"PROCESSOR_KAFKA_SECURITY_PROTOCOL": "SSL"},
        "tls": {
            "kafka": {"caSecret": "my-cluster-cluster-ca-cert", "clientSecret": "processor"},
            "elasticsearch": {"caSecret": "es-ca"},
            "ingress": {"secret": "processor-tls"},
        },
    },
    "all": {
        "models": "models:\n  - match: vision/pets\n    output: label\n",
        "extraLabels": {"team": "ml"},
        "openshift": True,
        "autoscaling": {"enabled": True},
        "dashboard": {"enabled": True, "namespace": "monitoring"},
        "ingress": {"enabled": True, "tlsSecret": "page-tls"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "ml", "operator": "Exists"}],
        "priorityClassName": "high",
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
    },
    "little": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "monitoring": {"podMonitor": False, "rules": False},
    },
}


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm with the values on its standard input."""
    return subprocess.run(
        [str(HELM), *arguments, "--values", "-"],
        input=yaml.safe_dump(values or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def template(values: dict[str, Any] | None = None, release: str = CHART.name) -> list[Manifest]:
    """The objects of an install."""
    options = ("--namespace", "seldon-logs")
    made = helm("template", release, str(CHART), *options, values=values)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each]


def kinds(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


def without_helm(value: Any) -> Any:
    """The object without the labels of Helm's conventions and what Helm's users expect beside them."""
    if isinstance(value, dict):
        left = {key: without_helm(each) for key, each in value.items() if key not in _HELM_LABELS}
        left.pop("checksum/settings", None)
        return {key: each for key, each in left.items() if (key, each) != ("annotations", {})}
    return [without_helm(each) for each in value] if isinstance(value, list) else value


def test_an_install_without_values_is_the_kustomization() -> None:
    made, wanted = kinds(template()), kinds(resources(PROCESSOR))
    assert made.keys() == wanted.keys()
    for name, manifest in made.items():
        found = without_helm(manifest)
        if name[0] == "StatefulSet":
            # Kubernetes' own default for an image with a version.
            (container,) = found["spec"]["template"]["spec"]["containers"]
            assert container.pop("imagePullPolicy") == "IfNotPresent"
        assert found == wanted[name], name


@pytest.mark.parametrize("name", INSTALLS)
def test_every_object_is_valid(name: str) -> None:
    for manifest in template(INSTALLS[name], release="ml"):
        validate(manifest)
        assert manifest["metadata"]["name"].startswith("ml-feedback-metrics-processor")


@pytest.mark.parametrize("name", INSTALLS)
def test_the_settings_are_valid_and_their_files_mounted(name: str) -> None:
    made = template(INSTALLS[name])
    config = kinds(made)["ConfigMap", CHART.name]["data"]
    settings = Settings.from_env(config)
    assert settings.embedded == (name == "embedded")
    pod = kinds(made)["StatefulSet", CHART.name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    volumes = {each["name"] for each in pod["volumes"]} | {"data"}
    assert mounts.keys() == volumes
    for path in (value for value in config.values() if value.startswith("/etc/")):
        assert str(Path(path).parent) in mounts.values()


@pytest.mark.parametrize("name", INSTALLS)
def test_workers_run_restricted(name: str) -> None:
    """What the pod security standard "restricted" asks for."""
    workers = kinds(template(INSTALLS[name]))["StatefulSet", CHART.name]["spec"]
    pod = workers["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert ("runAsUser" in pod["securityContext"]) == (name != "all")
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    kept = workers["persistentVolumeClaimRetentionPolicy"]["whenScaled"]
    assert kept == ("Retain" if name == "embedded" else "Delete")


def test_secrets_come_from_the_secret_alone() -> None:
    pod = kinds(template(INSTALLS["secured"]))["StatefulSet", CHART.name]["spec"]["template"][
        "spec"
    ]
    (container,) = pod["containers"]
    sources = {each["name"]: each["valueFrom"] for each in container["env"]}
    # Each pod announces its own address to the others.
    pod_ip = {"fieldRef": {"fieldPath": "status.podIP"}}
    assert sources.pop("PROCESSOR_ADVERTISED_ADDRESS") == pod_ip
    references = [source["secretKeyRef"] for source in sources.values()]
    assert {each["name"] for each in references} == {"logins"}
    assert container["image"] == f"registry.example.com/ml/processor@{_DIGEST}"


def test_rules_and_dashboard_are_those_of_the_project() -> None:
    for name in ("prometheus/rules.yml", "grafana/model_quality.json"):
        copy = CHART / "files" / Path(name).name
        assert copy.read_bytes() == (DEPLOY / name).read_bytes(), "run `make dashboard`"
    shown = kinds(template(INSTALLS["all"]))["ConfigMap", f"{CHART.name}-dashboard"]
    assert shown["metadata"]["namespace"] == "monitoring"
    assert json.loads(shown["data"]["model_quality.json"])["title"]


def test_every_alert_links_to_the_runbooks_of_the_values() -> None:
    address = "https://wiki.example.com/runbooks"
    made = kinds(template({"monitoring": {"runbooks": address}}))["PrometheusRule", CHART.name]
    rules = [rule for group in made["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(rules) > 20
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"{address}#{rule['alert'].lower()}"


def test_its_version_is_the_projects() -> None:
    chart = read_one(CHART / "Chart.yaml")
    version = setup_cfg()["metadata"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"settings": {"PROCESSOR_BROKER": ""}},
            "embedded mode, which is one worker: set replicas: 1",
        ),
        ({"setings": {}}, "setings"),
        ({"settings": {"BROKER": "x"}}, "BROKER"),
        ({"image": {"digest": "latest"}}, "digest"),
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, Any], said: str) -> None:
    made = helm("template", "x", str(CHART), values=values)
    assert made.returncode != 0
    assert said in made.stderr


def test_lint_finds_nothing() -> None:
    made = helm("lint", str(CHART), "--strict", values={})
    assert made.returncode == 0, made.stdout + made.stderr
