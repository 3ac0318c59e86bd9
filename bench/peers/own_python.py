"""Bytewax and Quix Streams, each in a virtual environment of its own."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.process import free_port

from ..support.measure import Job, Run, clocked, service
from .environment import python_with

_BYTEWAX = ("bytewax[kafka]==0.21.1", "orjson>=3.10")
_QUIX = ("quixstreams==3.28.1",)


def prepare_bytewax() -> None:
    python_with("bytewax", _BYTEWAX)


def prepare_quix() -> None:
    python_with("quixstreams", _QUIX)


def bytewax(job: Job) -> Run:
    return _run_bytewax("bytewax", job, None)


def bytewax_recovery(job: Job) -> Run:
    return _run_bytewax("bytewax-recovery", job, str(job.folder / "recovery"))


def _run_bytewax(system: str, job: Job, recovery: str | None) -> Run:
    port = free_port()
    arguments = [job.bootstrap, job.topic, port, recovery]
    return _run(system, job, python_with("bytewax", _BYTEWAX), "bytewax_app", arguments, port)


def quix(job: Job) -> Run:
    return _run_quix("quix", job, "at-least-once")


def quix_exactly_once(job: Job) -> Run:
    return _run_quix("quix-eos", job, "exactly-once")


def _run_quix(system: str, job: Job, guarantee: str) -> Run:
    port = free_port()
    app_id = f"{system}-{uuid.uuid4().hex[:12]}"
    state = str(job.folder / "state")
    arguments = [app_id, job.bootstrap, job.topic, port, state, guarantee]
    return _run(system, job, python_with("quixstreams", _QUIX), "quix_app", arguments, port)


def _run(
    system: str, job: Job, python: Path, module: str, arguments: Sequence[object], port: int
) -> Run:
    command = [str(python), "-m", f"bench.peers.{module}", json.dumps(arguments)]
    with service(system, command, job.folder / "log", port) as one:
        # A tenth of the rates seen; it is there to end, not to judge.
        return clocked(one, job, 60 + job.events / 1000)
