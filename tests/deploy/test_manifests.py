"""Compose and Kubernetes manifests: valid, and in step with the settings and the contract."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from processor.settings import Settings
from tests.deploy.manifests import (
    DEPLOY,
    KNATIVE,
    PROCESSOR,
    find,
    read,
    read_one,
    resources,
    setup_cfg,
    validate,
)

METRICS_PORT, INGRESS_PORT = 9102, 8080
TOPIC = "knative-messaging-kafka.seldon-logs.default-kne-trigger"
LABELS = {"app.kubernetes.io/name": "feedback-metrics-processor"}

FOLDERS = (PROCESSOR, KNATIVE)
ALL = [each for folder in FOLDERS for each in resources(folder)]


def name_of(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def statefulset() -> Any:
    return find(PROCESSOR, "StatefulSet")["spec"]


def pod() -> Any:
    return statefulset()["template"]["spec"]


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def compose() -> Any:
    return read_one(DEPLOY / "compose.yaml")["services"]


def test_every_yaml_file_parses() -> None:
    paths = sorted(path for end in ("yaml", "yml") for path in DEPLOY.rglob(f"*.{end}"))
    assert len(paths) > 15
    for path in paths:
        assert read(path), path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_a_kustomization_names_every_file_beside_it(folder: Path) -> None:
    named = read_one(folder / "kustomization.yaml")["resources"]
    assert sorted([*named, "kustomization.yaml"]) == sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("manifest", ALL, ids=name_of)
def test_a_manifest_is_valid(manifest: dict[str, Any]) -> None:
    validate(manifest)


@pytest.mark.parametrize("kind", ["Broker", "Trigger"])
def test_a_misspelt_field_is_not_valid(kind: str) -> None:
    manifest = find(KNATIVE, kind)
    manifest["spec"]["delivry"] = {}
    with pytest.raises(jsonschema.ValidationError, match="delivry"):
        validate(manifest)


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "PodMonitor", "StatefulSet"])
def test_selects_the_workers(kind: str) -> None:
    assert find(PROCESSOR, kind)["spec"]["selector"] == {"matchLabels": LABELS}


def test_everything_else_selects_the_workers_too() -> None:
    services = [each for each in resources(PROCESSOR) if each["kind"] == "Service"]
    assert [each["spec"]["selector"] for each in services] == [LABELS, LABELS]
    assert find(PROCESSOR, "NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": LABELS}
    assert statefulset()["template"]["metadata"]["labels"] == LABELS
    assert statefulset()["serviceName"] in [each["metadata"]["name"] for each in services]


def test_the_settings_of_the_workers_are_valid() -> None:
    assert [each["configMapRef"]["name"] for each in container()["envFrom"]] == [
        find(PROCESSOR, "ConfigMap")["metadata"]["name"]
    ]
    secrets = {each["name"]: "x" for each in container()["env"]}
    assert all(each["valueFrom"]["secretKeyRef"]["optional"] for each in container()["env"])
    given = find(PROCESSOR, "ConfigMap")["data"]
    # Who gives a login says with which protocol.
    protocol = {"PROCESSOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    assert Settings.from_env({**given, **secrets, **protocol}).kafka_sasl_user == "x"
    settings = Settings.from_env(given)
    assert not settings.embedded
    assert settings.topics == (TOPIC,)
    assert settings.archive


def test_memory_of_the_join_leaves_room_below_the_limit() -> None:
    settings = Settings.from_env(find(PROCESSOR, "ConfigMap")["data"])
    assert container()["resources"]["limits"]["memory"] == "2Gi"
    assert settings.max_memory is not None
    assert settings.max_memory <= 1 << 30


def test_no_variable_of_kubernetes_looks_like_a_setting() -> None:
    # For a Service `processor` it would set PROCESSOR_PORT, which the settings refuse.
    assert pod()["enableServiceLinks"] is False


def test_ports_and_probes_are_those_of_the_contract() -> None:
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    assert ports == {"metrics": METRICS_PORT, "ingress": INGRESS_PORT}
    settings = Settings()
    assert (settings.metrics_port, settings.ingress_port) == (METRICS_PORT, INGRESS_PORT)
    probes = {
        name: container()[f"{name}Probe"]["httpGet"]
        for name in ("startup", "liveness", "readiness")
    }
    assert probes == {
        "startup": {"path": "/health", "port": "metrics"},
        "liveness": {"path": "/health", "port": "metrics"},
        "readiness": {"path": "/ready", "port": "metrics"},
    }
    for service in (each for each in resources(PROCESSOR) if each["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]
    (endpoint,) = find(PROCESSOR, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_workers_run_restricted() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert find(PROCESSOR, "ServiceAccount")["automountServiceAccountToken"] is False
    mounts = {each["name"]: each["mountPath"] for each in container()["volumeMounts"]}
    assert mounts == {"data": "/data", "tmp": "/tmp"}


def test_the_broker_makes_the_topic_that_the_workers_read() -> None:
    broker, config = find(KNATIVE, "Broker"), find(KNATIVE, "ConfigMap")
    reference = broker["spec"]["config"]
    assert {**reference, "kind": "ConfigMap"} == {
        "apiVersion": "v1",
        "kind": config["kind"],
        "name": config["metadata"]["name"],
        "namespace": config["metadata"]["namespace"],
    }
    namespace, name = broker["metadata"]["namespace"], f"{broker['metadata']['name']}-kne-trigger"
    template = yaml.safe_load(config["data"]["channel-template-spec"])
    validate({**template, "metadata": {"name": name, "namespace": namespace}})
    assert f"knative-messaging-kafka.{namespace}.{name}" == TOPIC == Settings().topics[0]

    hours = re.fullmatch(r"PT(\d+)H", template["spec"]["retentionDuration"])
    assert hours
    assert int(hours[1]) * 3600 >= Settings().horizon


def test_the_trigger_finds_its_broker_and_its_subscriber() -> None:
    trigger = find(KNATIVE, "Trigger")
    assert trigger["spec"]["broker"] == find(KNATIVE, "Broker")["metadata"]["name"]
    reference = trigger["spec"]["subscriber"]["ref"]
    service = find(KNATIVE, "Service", reference["name"])
    labels = find(KNATIVE, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_compose_gives_valid_settings_that_name_its_services() -> None:
    services = compose()
    settings = Settings.from_env(services["processor"]["environment"])
    assert settings.broker == ("kafka:9092",)
    assert settings.archive == "http://elasticsearch:9200"
    assert {"kafka", "elasticsearch"} <= services.keys()
    assert "INTERNAL://kafka:9092" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_compose_opens_ports_on_loopback_only() -> None:
    ports = {
        name: [tuple(port.rsplit(":", 2)) for port in service.get("ports", ())]
        for name, service in compose().items()
    }
    assert {address for each in ports.values() for address, _, _ in each} == {"127.0.0.1"}
    assert {inner for _, _, inner in ports["processor"]} == {str(METRICS_PORT), str(INGRESS_PORT)}


def test_compose_waits_for_what_a_service_needs() -> None:
    services = compose()
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[name], name
    waits = {name: each["condition"] for name, each in services["processor"]["depends_on"].items()}
    assert waits == {
        "kafka": "service_healthy",
        "topics": "service_completed_successfully",
        "elasticsearch": "service_healthy",
    }


def test_compose_makes_the_topic_that_the_processor_reads() -> None:
    topics = compose()["topics"]
    options = dict(zip(topics["command"], topics["command"][1:], strict=False))
    assert options["--topic"] == TOPIC
    assert topics["image"] == compose()["kafka"]["image"]
    retention = int(options["--config"].removeprefix("retention.ms="))
    assert retention >= Settings().horizon * 1000


def test_images_have_a_version_and_ours_is_the_projects() -> None:
    version = setup_cfg()["metadata"]["version"]
    images = {service["image"] for service in compose().values()}
    assert f"feedback-metrics-processor:{version}" in images
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images), images
    (ours,) = read_one(PROCESSOR / "kustomization.yaml")["images"]
    assert ours == {"name": container()["image"], "newTag": version}
