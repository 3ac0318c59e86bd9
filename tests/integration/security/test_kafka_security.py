"""A whole run of a worker on a broker that wants TLS, client certificates or a login."""

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from processor.kafka.clients import running
from processor.kafka.provision import rights
from processor.kafka.topics import Topics, specs
from processor.settings import Settings
from tests.support.faults.cluster import until
from tests.support.reports.command import run_command
from tests.support.servers.secure_kafka import PASSWORD, USER, SecureKafkaServer
from tests.support.servers.topics import create_topics
from tests.support.workers import Get, Start, assert_equal, expected, models, produce

# One broker for all of them.
pytestmark = pytest.mark.xdist_group("secure Kafka")


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureKafkaServer]:
    with SecureKafkaServer() as secure:
        yield secure


def settings_of(secure: SecureKafkaServer, protocol: str) -> dict[str, str]:
    settings = {
        "broker": f"kafka://127.0.0.1:{secure.ports[protocol]}",
        "kafka_security_protocol": protocol,
    }
    if protocol.endswith("SSL"):
        settings["kafka_ca"] = str(secure.ca)
    if protocol == "SSL":
        settings |= {"kafka_cert": str(secure.cert), "kafka_key": str(secure.key)}
    if protocol.startswith("SASL"):
        mechanism = "SCRAM-SHA-512" if protocol == "SASL_SSL" else "PLAIN"
        settings |= {"kafka_sasl_mechanism": mechanism, "kafka_sasl_user": USER}
        settings["kafka_sasl_password"] = PASSWORD
    return settings


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT", "SSL"])
async def test_a_worker_runs_on_every_listener(
    secure: SecureKafkaServer, protocol: str, app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    """Internal topics are made, events come in, and the numbers are those of the contract."""
    source = f"source-{uuid.uuid4().hex[:8]}"
    with ThreadPoolExecutor(1) as pool:
        made = create_topics(secure.server.bootstrap, [source], 8)
        pool.submit(asyncio.run, made).result(60)
    settings = settings_of(secure, protocol)
    if protocol.startswith("SASL"):
        # With a login it has the documented rights alone: to create its topics, or only to use them.
        create = protocol == "SASL_SSL"
        await secure.allow(rights(app_id, [source], create))
        if not create:
            settings["create_topics"] = "off"
            await make_internal_topics(secure.server.bootstrap, app_id)
    if "kafka_sasl_password" in settings:
        # As a mounted secret: with the newline that an editor leaves.
        path = tmp_path / "password"
        path.write_text(settings.pop("kafka_sasl_password") + "\n")
        settings["kafka_sasl_password_file"] = str(path)
    worker = start(**settings, topics=source, app_id=app_id, archive="none")
    await produce(secure.server.bootstrap, source)

    async def exact() -> bool:
        found = await models(get, worker)
        return bool(found) and found[0]["judged"] == 63

    await until(exact, 60, "all judged")
    (found,) = await models(get, worker)
    assert_equal(found, expected())
    assert PASSWORD not in worker.text
    assert await worker.terminate() == 0


async def make_internal_topics(bootstrap: str, app_id: str) -> None:
    """Create the topics as an administrator would who has seen `processor topics`."""
    env = {"PROCESSOR_APP_ID": app_id, "PROCESSOR_BROKER": f"kafka://{bootstrap}"}
    wanted = specs(Settings.from_env(env), Topics.of(app_id))
    async with running(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        await admin.create_topics(
            [NewTopic(each.name, each.partitions, 1, topic_configs=each.config) for each in wanted]
        )


WRONG = {
    "password": ("SASL_SSL", {"kafka_sasl_password": "not-it"}, "PROCESSOR_KAFKA_SASL_PASSWORD"),
    "plain-password": (
        *("SASL_PLAINTEXT", {"kafka_sasl_password": "not-it"}),
        "PROCESSOR_KAFKA_SASL_PASSWORD",
    ),
    "mechanism": (
        *("SASL_SSL", {"kafka_sasl_mechanism": "SCRAM-SHA-256"}),
        "PROCESSOR_KAFKA_SASL_MECHANISM",
    ),
    "authority": ("SASL_SSL", {"kafka_ca": "stranger"}, "PROCESSOR_KAFKA_CA"),
    "no-certificate": (
        *("SSL", {"kafka_cert": "", "kafka_key": ""}),
        "PROCESSOR_KAFKA_CERT",
    ),
    "no-encryption": (
        *("SASL_SSL", {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca": ""}),
        "PROCESSOR_KAFKA_SECURITY_PROTOCOL",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_named(
    secure: SecureKafkaServer, what: str, app_id: str, tmp_path: Path
) -> None:
    """One line of `processor check` names the setting, and no secret."""
    protocol, wrong, named = WRONG[what]
    settings = {**settings_of(secure, protocol), **wrong, "app_id": app_id, "archive": "none"}
    if settings.get("kafka_ca") == "stranger":
        settings["kafka_ca"] = str(secure.stranger)
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items() if value}
    done = await asyncio.to_thread(run_command, ("check",), env)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert named in line
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    assert "not-it" not in output
    assert PASSWORD not in output


async def test_a_worker_with_a_wrong_password_says_so_and_waits(
    secure: SecureKafkaServer, app_id: str, start: Start, get: Get
) -> None:
    """It may be corrected on the broker's side: the process goes on, not ready."""
    settings = settings_of(secure, "SASL_SSL") | {"kafka_sasl_password": "not-it"}
    worker = start(**settings, app_id=app_id, archive="none")

    async def says_why() -> bool:
        status, body = await get(worker, "/ready")
        return status == 503 and "PROCESSOR_KAFKA_SASL_PASSWORD" in body

    await until(says_why, 60, "ready says why")
    (line,) = [line for line in worker.text.splitlines() if "WARNING" in line]
    assert "PROCESSOR_KAFKA_SASL_PASSWORD" in line
    _, body = await get(worker, "/ready")
    assert "not-it" not in worker.text + body
    assert "Traceback" not in worker.text
    assert await worker.terminate() == 0
