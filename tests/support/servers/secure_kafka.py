"""A broker with the listeners of real clusters: TLS, TLS with client certificates, and logins."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest_v1
from aiokafka.protocol.api import Request

from processor.kafka.clients import running
from processor.kafka.provision import Right

from .certificates import authority, signed
from .kafka import KafkaServer
from .process import free_port

USER, PASSWORD = "worker", "s3cret-of-the-worker"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


#: Codes of the protocol.
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """Several at once; aiokafka's own request is of one."""

    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, creations: list[tuple[int, str, int, str, str, int, int]]) -> None:
        self._creations = creations

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._creations)


class SecureKafkaServer:
    """``ports`` by listener: SASL_SSL (SCRAM-SHA-512), SASL_PLAINTEXT (PLAIN), SSL (mutual);
    ``server.bootstrap`` is open to the tests. PEM files: ``ca``, ``cert`` and ``key`` of a client,
    ``stranger`` an authority that signed nothing here."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kafka-pki-")
        folder = Path(self._folder.name)
        self.ca, self.stranger = folder / "ca.pem", folder / "stranger.pem"
        self.cert, self.key = folder / "client.pem", folder / "client.key"
        authority(folder, "ca")
        authority(folder, "stranger")
        signed(folder, "client", "subjectAltName=DNS:client")
        signed(folder, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        store = folder / "server-store.pem"
        store.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
        self.ports = {name: free_port() for name in ("SASL_SSL", "SASL_PLAINTEXT", "SSL")}
        self.server = KafkaServer()
        secure = [f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()]
        plain = f"PLAINTEXT://{self.server.bootstrap}"
        controller = f"CONTROLLER://127.0.0.1:{self.server.controller_port}"
        self.server.settings |= {
            "listeners": ",".join([plain, *secure, controller]),
            "advertised.listeners": ",".join([plain, *secure]),
            "listener.security.protocol.map": ",".join(
                [*(f"{name}:{name}" for name in ("PLAINTEXT", *self.ports)), "CONTROLLER:PLAINTEXT"]
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The tests themselves and the cluster; and the holder of the client certificate. The user
            # with a login has the rights that it is given.
            "super.users": "User:ANONYMOUS;User:CN=client",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f'{_PLAIN} user_{USER}="{PASSWORD}";'
            ),
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM,
        }

    def __enter__(self) -> Self:
        try:
            self.server.start()
            self._add_user()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.server.close()
        self._folder.cleanup()

    async def allow(self, granted: Iterable[Right]) -> None:
        """Give rights to the user with a login."""
        creations = [
            (
                _RESOURCES[right.resource],
                right.name,
                _PREFIXED if right.prefixed else _LITERAL,
                f"User:{USER}",
                "*",
                _OPERATIONS[operation],
                _ALLOW,
            )
            for right in granted
            for operation in right.operations
        ]
        async with running(AIOKafkaAdminClient(bootstrap_servers=self.server.bootstrap)) as admin:
            response = await admin._send_request(_CreateAcls(creations))
        refused = [error for error in response.creation_responses if error[0]]
        assert not refused, refused

    def _add_user(self) -> None:
        """As `kafka-configs.sh` does; SCRAM's logins are kept in the cluster."""
        self.server.run_tool(
            "kafka.admin.ConfigCommand",
            *("--bootstrap-server", self.server.bootstrap, "--alter"),
            *("--entity-type", "users", "--entity-name", USER),
            *("--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]"),
        )
