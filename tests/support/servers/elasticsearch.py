"""A real Elasticsearch (one node) as a plain Java process on loopback, never as root."""

import base64
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from . import _docker_answers
from .maven import ServerError, _locked, cache_folder, find_program
from .process import RestartableServer, ServerProcess, free_port
from .shared import shared

#: The newest and the oldest server that the processor is tried with.
VERSIONS = ("8.19.0", "7.17.0")
USER, PASSWORD = "tester", "secret-of-the-tests"

_ARTIFACT = "org.elasticsearch.distribution.integ-test-zip:elasticsearch:{version}:zip"
_IMAGE = "docker.elastic.co/elasticsearch/elasticsearch:{version}"
#: Debian's and Fedora's "nobody", where root starts the tests.
_NOBODY = 65534


class Elastic(Protocol):
    """Any server; for one that can be stopped and restarted use ElasticsearchServer itself."""

    @property
    def url(self) -> str: ...


class GivenElastic(NamedTuple):
    url: str


class StartedElastic(NamedTuple):
    """A server that runs as a process of this machine."""

    url: str
    pid: int
    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "config" / "cert.pem"


class ElasticsearchServer(RestartableServer):
    """One node; `restart` keeps its port and its data. With `secure` (8.x only) it speaks HTTPS
    with the certificate `ca`, and knows USER alone."""

    def __init__(
        self, version: str = VERSIONS[0], *, secure: bool = False, heap: str = "512m",
        start_seconds: float = 180,
    ) -> None:  # fmt: skip
        super().__init__("Elasticsearch", start_seconds, stop_seconds=60)
        self.version = version
        self.secure = secure
        self.port = free_port()
        self.transport_port = free_port()
        self._heap = heap

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def description(self) -> StartedElastic:
        """What other processes of the run need to know of it."""
        return StartedElastic(self.url, self.pid, self.folder)

    def _launch(self) -> ServerProcess:
        folder = self.folder
        return ServerProcess(
            [*_drop_root(), str(self._home / "bin" / "elasticsearch")],
            folder=folder, log=folder / "server.log", env=self._environment(),
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        java = Path(find_program("java", "openjdk-17-jre-headless")).resolve()
        return {
            "PATH": os.environ["PATH"],
            "ES_JAVA_HOME": str(java.parents[1]),
            # Stopping at the first compiler halves the start on two cores, of the server and of the
            # program that starts it.
            "ES_JAVA_OPTS": f"-Xms{self._heap} -Xmx{self._heap} -XX:TieredStopAtLevel=1"
            " -XX:-AlwaysPreTouch",
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder),
        }

    def _prepare(self, folder: Path) -> None:
        self._home = _readable_home(self.version, folder)
        config = folder / "config"
        shutil.copytree(self._home / "config", config)
        (folder / "tmp").mkdir()
        options = (config / "jvm.options").read_text().splitlines(keepends=True)
        # The log of the collector would go below the distribution, which is not writable.
        (config / "jvm.options").write_text("".join(o for o in options if "gc.log" not in o))
        lines = [
            "discovery.type: single-node",
            "network.host: 127.0.0.1",
            f"http.port: {self.port}",
            f"transport.port: {self.transport_port}",
            f"path.data: {folder / 'data'}",
            f"path.logs: {folder / 'logs'}",
            "node.store.allow_mmap: false",
            "cluster.routing.allocation.disk.threshold_enabled: false",
        ]
        if not self.version.startswith("7."):
            lines.append(f"xpack.security.enabled: {str(self.secure).lower()}")
        if self.secure:
            _make_certificate(config)
            lines += [
                "xpack.security.http.ssl.enabled: true",
                "xpack.security.http.ssl.key: key.pem",
                "xpack.security.http.ssl.certificate: cert.pem",
                "xpack.security.transport.ssl.enabled: false",
            ]
        (config / "elasticsearch.yml").write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                if self._home not in path.parents:
                    os.chown(path, _NOBODY, _NOBODY)
        if self.secure:
            users = self._home / "bin" / "elasticsearch-users"
            command = [users, "useradd", USER, "-p", PASSWORD, "-r", "superuser"]
            _run([*_drop_root(), *map(str, command)], self._environment())

    def _answers(self) -> bool:
        path = "/_cluster/health?wait_for_status=yellow&timeout=1s"
        request = urllib.request.Request(self.url + path)
        context = None
        if self.secure:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
            context = ssl.create_default_context(cafile=str(self.folder / "config" / "cert.pem"))
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as response:
                return b'"timed_out":false' in response.read()
        except (OSError, urllib.error.URLError):
            return False


def _drop_root() -> list[str]:
    """What comes before a command so that it does not run as root, which Elasticsearch refuses."""
    if os.geteuid() != 0:
        return []
    setpriv = find_program("setpriv", "util-linux")
    return [setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, env=env
    )
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ServerError(f"{' '.join(command[:6])} ... failed:\n{output}")


def _make_certificate(config: Path) -> None:
    openssl = find_program("openssl", "openssl")
    _run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", str(config / "key.pem"), "-out", str(config / "cert.pem"),
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
    )  # fmt: skip


def _readable_home(version: str, folder: Path) -> Path:
    """The unpacked distribution; a copy in `folder` where its user can't reach the cache."""
    home = fetch(version)
    test = [*_drop_root(), "test", "-r", str(home / "bin" / "elasticsearch")]
    if subprocess.run(test).returncode == 0:
        return home
    folder.chmod(0o755)
    return Path(shutil.copytree(home, folder / "home"))


def fetch(version: str) -> Path:
    """`<cache>/elasticsearch-<version>/home`, from Maven Central the first time."""
    folder = cache_folder() / f"elasticsearch-{version}"
    home = folder / "home"
    if home.is_dir():
        return home
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if home.is_dir():
            return home
        partial = folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        mvn = find_program("mvn", "maven")
        artifact = _ARTIFACT.format(version=version)
        _run([mvn, "--batch-mode", "--quiet", "dependency:copy", f"-Dartifact={artifact}",
              f"-DoutputDirectory={partial}"])  # fmt: skip
        (archive,) = partial.glob("*.zip")
        with zipfile.ZipFile(archive) as content:
            content.extractall(partial)
        archive.unlink()
        (unpacked,) = partial.iterdir()
        for program in (unpacked / "bin").iterdir():
            program.chmod(0o755)
        unpacked.rename(home)
        partial.rmdir()
    return home


@contextmanager
def elasticsearch_server(version: str) -> Iterator[Elastic]:
    """A server, from the first of: PROCESSOR_TEST_ELASTICSEARCH (addresses in the order of
    VERSIONS, with commas; ServerError where it names too few), Docker if it answers, Java."""
    given = os.environ.get("PROCESSOR_TEST_ELASTICSEARCH", "")
    if given:
        urls = [url.strip() for url in given.split(",")]
        position = VERSIONS.index(version)
        if position >= len(urls):
            raise ServerError(f"PROCESSOR_TEST_ELASTICSEARCH names no server for {version}")
        yield GivenElastic(urls[position].rstrip("/"))
    elif _docker_answers():
        with _docker_elasticsearch(version) as server:
            yield server
    else:
        with ElasticsearchServer(version) as server:
            yield server


@contextmanager
def _docker_elasticsearch(version: str) -> Iterator[GivenElastic]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    container = DockerContainer(_IMAGE.format(version=version)).with_exposed_ports(9200)
    container.with_env("discovery.type", "single-node")
    container.with_env("xpack.security.enabled", "false")
    container.with_env("ES_JAVA_OPTS", "-Xms512m -Xmx512m")
    with container:
        wait_for_logs(container, "started", 180)
        host, port = container.get_container_host_ip(), container.get_exposed_port(9200)
        yield GivenElastic(f"http://{host}:{port}")


def shared_server(version: str) -> GivenElastic | StartedElastic:
    """One server of a version for all tests of the run."""
    return shared(_described, version)


def secure_server() -> StartedElastic:
    """One server with security for all tests of the run."""
    return shared(_secure)


@contextmanager
def _described(version: str) -> Iterator[GivenElastic | StartedElastic]:
    with elasticsearch_server(version) as server:
        if isinstance(server, ElasticsearchServer):
            yield server.description
        else:
            yield GivenElastic(server.url)


@contextmanager
def _secure() -> Iterator[StartedElastic]:
    with ElasticsearchServer(secure=True) as server:
        yield server.description
