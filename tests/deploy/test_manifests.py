"""Compose and Kubernetes manifests: valid, and in step with the settings and the contract."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from processor.settings import Settings
from tests.support.manifests import (
    DEPLOY,
    KNATIVE,
    KUBERNETES_FOLDER,
    OVERLAYS,
    PROCESSOR,
    ROOT,
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

FOLDERS = sorted(path.parent for path in KUBERNETES_FOLDER.rglob("kustomization.yaml"))
ALL = [(folder.name, each) for folder in FOLDERS for each in resources(folder)]


def name_of(built: Any) -> str:
    folder, manifest = built
    return f"{folder}-{manifest['kind']}-{manifest['metadata']['name']}"


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
    found = (path for end in ("yaml", "yml") for path in DEPLOY.rglob(f"*.{end}"))
    # What Helm renders is read in test_chart.
    paths = sorted(path for path in found if path.parent.name != "templates")
    assert len(paths) > 15
    for path in paths:
        assert read(path), path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_a_kustomization_names_every_file_beside_it(folder: Path) -> None:
    kustomization = read_one(folder / "kustomization.yaml")
    named = [name for name in kustomization["resources"] if not name.startswith("..")]
    named += [patch["path"] for patch in kustomization.get("patches", ())]
    assert sorted([*named, "kustomization.yaml"]) == sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("built", ALL, ids=name_of)
def test_a_manifest_is_valid(built: tuple[str, dict[str, Any]]) -> None:
    validate(built[1])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_kustomize_builds_the_same(folder: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH; the tests apply kustomize's rules themselves")
    build = subprocess.run([kubectl, "kustomize", folder], capture_output=True, timeout=60)
    assert build.returncode == 0, build.stderr

    def order(manifest: dict[str, Any]) -> tuple[str, str]:
        return manifest["kind"], manifest["metadata"]["name"]

    theirs = [each for each in yaml.safe_load_all(build.stdout) if each]
    assert sorted(theirs, key=order) == sorted(resources(folder), key=order)


@pytest.mark.parametrize("folder", [PROCESSOR, *OVERLAYS.iterdir()], ids=lambda path: path.name)
def test_every_way_gives_valid_settings(folder: Path) -> None:
    config = find(folder, "ConfigMap", "feedback-metrics-processor")
    settings = Settings.from_env(config["data"])
    workers = find(folder, "StatefulSet")["spec"]
    if folder.name == "http":
        # The embedded mode is one worker.
        assert settings.embedded
        assert workers["replicas"] == 1
    elif folder.name == "scaled":
        scaler = find(folder, "HorizontalPodAutoscaler")["spec"]
        assert "replicas" not in workers
        assert scaler["maxReplicas"] <= settings.partitions
        target = scaler["scaleTargetRef"]
        assert target["name"] == find(folder, "StatefulSet")["metadata"]["name"]
        (metric,) = scaler["metrics"]
        assert metric["pods"]["metric"]["name"] == "processor_consumer_lag_records"
    else:
        assert workers["replicas"] == 2
        assert settings.archive.startswith("http://")
    mounted = {each["name"]: each["mountPath"] for each in container()["volumeMounts"]}
    assert mounted["data"] == "/data"


def test_the_kafka_broker_writes_the_topic_that_the_workers_read() -> None:
    folder = OVERLAYS / "kafka-broker"
    broker = find(folder, "Broker")
    notes = broker["metadata"]["annotations"]
    assert notes["eventing.knative.dev/broker.class"] == "Kafka"
    settings = Settings.from_env(find(folder, "ConfigMap", "feedback-metrics-processor")["data"])
    assert settings.topics == (notes["kafka.eventing.knative.dev/external.topic"],)
    config = find(folder, "ConfigMap", broker["spec"]["config"]["name"])
    assert config["metadata"]["namespace"] == broker["spec"]["config"]["namespace"]
    assert config["data"]["bootstrap.servers"] == settings.broker[0]
    # The channel's configuration is gone, and the Trigger stays.
    assert not [each for each in resources(folder) if each["metadata"]["name"] == "kafka-channel"]
    assert find(folder, "Trigger")


def test_the_subscription_is_to_the_brokers_channel_and_ends_at_the_ingress() -> None:
    folder = OVERLAYS / "http"
    subscription = find(folder, "Subscription")
    channel = subscription["spec"]["channel"]
    namespace = subscription["metadata"]["namespace"]
    assert f"knative-messaging-kafka.{namespace}.{channel['name']}" == TOPIC
    assert subscription["spec"]["delivery"]["retry"] > 0
    subscriber = subscription["spec"]["subscriber"]
    service = find(folder, "Service", subscriber["ref"]["name"])["spec"]
    assert service["selector"] == LABELS
    # Knative asks at port 80, whatever else a Service has.
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(80, "ingress")]
    assert subscriber["uri"] == "/"


def test_seldon_sends_to_the_broker_and_istio_to_seldon() -> None:
    values = read_one(KUBERNETES_FOLDER / "seldon-core" / "values.yaml")
    broker = find(KNATIVE, "Broker")["metadata"]
    assert values["executor"]["requestLogger"]["defaultEndpoint"] == (
        "http://broker-ingress.knative-eventing.svc.cluster.local"
        f"/{broker['namespace']}/{broker['name']}"
    )
    gateway = find(KUBERNETES_FOLDER / "istio", "Gateway")["metadata"]
    assert values["istio"]["gateway"] == f"{gateway['namespace']}/{gateway['name']}"
    (predictor,) = find(KUBERNETES_FOLDER / "model", "SeldonDeployment")["spec"]["predictors"]
    assert predictor["graph"]["logger"]["mode"] == "all"


def test_elasticsearch_is_new_enough_and_where_its_users_look() -> None:
    values = read_one(KUBERNETES_FOLDER / "elasticsearch" / "values.yaml")
    image = compose()["elasticsearch"]["image"]
    assert f"{values['image']}:{values['imageTag']}" == image
    assert values["imageTag"].startswith("8.19.")
    # The chart's name for its Service is <clusterName>-<nodeGroup>: elasticsearch-master.
    (logger,) = find(KNATIVE, "Deployment")["spec"]["template"]["spec"]["containers"]
    host = {each["name"]: each["value"] for each in logger["env"]}["ELASTICSEARCH_HOST"]
    archive = find(PROCESSOR, "ConfigMap")["data"]["PROCESSOR_ARCHIVE"]
    assert archive == f"{values['protocol']}://{host}:9200"


def test_the_default_channel_is_kafkas_and_valid() -> None:
    config = find(KUBERNETES_FOLDER / "knative-eventing", "ConfigMap")
    assert config["metadata"] == {"name": "default-ch-webhook", "namespace": "knative-eventing"}
    default = yaml.safe_load(config["data"]["default-ch-config"])["clusterDefault"]
    assert default["kind"] == "KafkaChannel"
    validate({**default, "metadata": {"name": "x", "namespace": "x"}})


def test_every_variable_with_our_prefix_is_a_setting() -> None:
    known = {f"PROCESSOR_{each.name.upper()}" for each in fields(Settings)}
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in DEPLOY.rglob("*")
        if path.suffix in (".yaml", ".yml", ".md", "") and path.is_file()
    )
    used = set(re.findall(r"\bPROCESSOR_[A-Z0-9_]+\b", text))
    assert {"PROCESSOR_BROKER", "PROCESSOR_ES_USER"} <= used
    assert used <= known


def test_an_update_waits_until_a_worker_has_opened_its_partitions() -> None:
    spec = statefulset()
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert spec["minReadySeconds"] >= 15
    # SIGTERM ends a worker within 10 s.
    assert pod()["terminationGracePeriodSeconds"] >= 30


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
    sources = {each["name"]: each["valueFrom"] for each in container()["env"]}
    # Each pod announces its own address to the others.
    pod_ip = {"fieldRef": {"fieldPath": "status.podIP"}}
    assert sources.pop("PROCESSOR_ADVERTISED_ADDRESS") == pod_ip
    assert all(source["secretKeyRef"]["optional"] for source in sources.values())
    secrets = dict.fromkeys(sources, "x")
    given = find(PROCESSOR, "ConfigMap")["data"]
    # Who gives a login says with which protocol.
    protocol = {"PROCESSOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    assert Settings.from_env({**given, **secrets, **protocol}).kafka_sasl_user == "x"
    settings = Settings.from_env(given)
    assert not settings.embedded
    assert settings.topics == (TOPIC,)
    assert settings.archive


def test_the_workers_may_ask_one_another() -> None:
    policy = find(PROCESSOR, "NetworkPolicy")["spec"]
    peers, ports = [{"podSelector": {"matchLabels": LABELS}}], [{"port": "metrics"}]
    assert {"from": peers, "ports": ports} in policy["ingress"]
    assert {"to": peers, "ports": ports} in policy["egress"]


def test_memory_of_the_join_leaves_room_below_the_limit() -> None:
    settings = Settings.from_env(find(PROCESSOR, "ConfigMap")["data"])
    assert container()["resources"]["limits"]["memory"] == "2Gi"
    assert settings.max_memory is not None
    assert settings.max_memory <= 1 << 30


def test_the_documented_rate_is_that_of_the_memory() -> None:
    """With one worker away the other holds all requests."""
    settings = Settings.from_env(find(PROCESSOR, "ConfigMap")["data"])
    page = (ROOT / "docs" / "how-to" / "scale.md").read_text(encoding="utf-8")
    found = re.search(r"\*\*(\d+) bytes\*\* for a request with a UUID", page)
    assert found
    requests = (settings.max_memory or 0) // int(found[1])
    text = " ".join(page.split())
    assert f"which is {round(requests / 1e6)} million such requests a worker" in text
    workers, rate = statefulset()["replicas"], requests / settings.horizon
    assert f"That is {int(workers * rate)} predictions a second on its two workers" in text.replace(
        "At a horizon of 7 days that is", "That is"
    )
    assert f"**{int((workers - 1) * rate)} a second while one of them restarts**" in text


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
    assert ours == {"name": "feedback-metrics-processor", "newTag": version}
    assert container()["image"] == f"feedback-metrics-processor:{version}"
