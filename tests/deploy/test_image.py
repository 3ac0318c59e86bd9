"""The Dockerfile, as far as it can be held to its word without building it."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from processor.settings import Settings
from tests.support.manifests import DEPLOY, PROCESSOR, ROOT, find, setup_cfg

#: With continued lines joined.
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def instruction(name: str) -> str:
    """What stands behind the last instruction of that name."""
    found = re.findall(rf"^{name}\s+(.+)$", DOCKERFILE, re.MULTILINE)
    return str(found[-1]).strip()


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /health so and all else with 404; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_runs_the_service_on_the_ports_of_the_contract() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["processor"]
    assert json.loads(instruction("CMD")) == ["run"]
    settings = Settings()
    assert instruction("EXPOSE").split() == [str(settings.metrics_port), str(settings.ingress_port)]


def test_its_settings_are_settings() -> None:
    env = dict(re.findall(r"\b(PROCESSOR_\w+)=(\S+)", instruction("ENV")))
    assert str(Settings.from_env(env).data) == instruction("VOLUME") == "/data"


def test_its_user_is_the_one_of_the_manifests() -> None:
    context = find(PROCESSOR, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    user = f"{context['runAsUser']}:{context['runAsGroup']}"
    assert instruction("USER") == user
    assert context["fsGroup"] == context["runAsGroup"]


def test_its_version_is_the_projects() -> None:
    assert instruction("ARG") == f"VERSION={setup_cfg()['metadata']['version']}"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_health_check(status: int, code: int) -> None:
    check = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert check
    python, *args = json.loads(check[1])
    assert python == "python"
    with answering(status) as port:
        env = {
            **os.environ,
            "PROCESSOR_METRICS_PORT": str(port),
            "http_proxy": "http://127.0.0.1:9",
        }
        run = subprocess.run([sys.executable, *args], env=env, capture_output=True, timeout=60)
    assert run.returncode == code, run.stderr


def test_copies_what_the_ignore_file_lets_through() -> None:
    copied = {
        source.removeprefix("./")
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in ignore if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_native_extension_is_built_and_must_load() -> None:
    """Its source is copied before the wheel is made, and an image without it is no image."""
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools-rust"]
    (manifest,) = (each["path"] for each in modules["ext-modules"])
    folder = Path(manifest).parent.as_posix()
    copy, wheel = f"COPY {folder} ./{folder}\n", "RUN pip wheel"
    assert 0 < DOCKERFILE.index(copy) < DOCKERFILE.index(wheel)
    assert '/opt/venv/bin/python -I -c "import processor._native"' in DOCKERFILE


def test_the_wheel_takes_every_file_of_the_package() -> None:
    patterns = setup_cfg()["options.package_data"]["processor"].split()
    package = ROOT / "processor"
    for path in package.rglob("*"):
        name = path.relative_to(package).as_posix()
        # Of the native extension the wheel has the library, not the source.
        if name.startswith(("native/", "_native.cpython")):
            continue
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    wanted = setup_cfg()["options"]["install_requires"].splitlines()
    # The image can put shared snapshots into a bucket.
    wanted += setup_cfg()["options.extras_require"]["snapshots"].splitlines()
    assert "/wheels/*.whl obstore" in DOCKERFILE
    for line in filter(None, wanted):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name}: run 'make lock'"
        assert requirement.specifier.contains(versions[name]), f"{line}: run 'make lock'"
    assert "--constraint constraints.txt" in DOCKERFILE
