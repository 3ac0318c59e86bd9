"""The systems that `python -m bench` compares, and one run of each.

A system that can't be installed, or that fails, is left out of the results with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..support import processor_app
from ..support.command import say
from ..support.measure import BenchError, Job, Run
from ..support.report import Results
from . import baseline_consumer, kafka_streams, naive_faust, own_python
from .environment import PeerMissing

#: Without these there is nothing to compare: their failure ends the benchmark.
NEEDED = ("bare", "processor")


@dataclass(frozen=True)
class System:
    """A system by name, and its title in the table.

    `prepare` fetches what `run` needs, before anything is timed; it may raise PeerMissing.

    `once`: so slow that it runs in the first round alone, on a slice of the events.
    """

    name: str
    title: str
    run: Callable[[Job], Run]
    prepare: Callable[[], None] | None = None
    once: bool = False


SYSTEMS = (
    System("bare", "bare aiokafka + msgspec, decode only", baseline_consumer.run),
    System("processor", "processor", processor_app.run),
    System(
        "kafka-streams",
        "Kafka Streams, at least once",
        kafka_streams.at_least_once,
        kafka_streams.prepare,
    ),
    System(
        "kafka-streams-eos",
        "Kafka Streams, exactly once",
        kafka_streams.exactly_once,
        kafka_streams.prepare,
    ),
    System("bytewax", "Bytewax, no recovery", own_python.bytewax, own_python.prepare_bytewax),
    System(
        "bytewax-recovery",
        "Bytewax, recovery every second",
        own_python.bytewax_recovery,
        own_python.prepare_bytewax,
    ),
    System("quix", "Quix Streams, at least once", own_python.quix, own_python.prepare_quix),
    System(
        "quix-eos",
        "Quix Streams, exactly once",
        own_python.quix_exactly_once,
        own_python.prepare_quix,
    ),
    System("naive", "naive Faust, a table write per event", naive_faust.run, once=True),
)
TITLES = {system.name: system.title for system in SYSTEMS}


def prepare(systems: Sequence[System], results: Results) -> None:
    """Fetch what they need, before anything is timed."""
    for system in systems:
        try:
            if system.prepare is not None:
                system.prepare()
        except PeerMissing as error:
            _leave_out(results, system, f"not installed: {error}", str(error))


def run(system: System, job: Job, results: Results) -> bool:
    """Add its run to the last round; False if it failed. A needed one raises its BenchError."""
    number = len(results.rounds)
    try:
        found = system.run(job)
    except BenchError as error:
        if system.name in NEEDED:
            raise
        first_line = str(error).partition("\n")[0].replace("|", "/")
        _leave_out(results, system, f"failed in round {number}: {first_line}", str(error))
        return False
    results.rounds[-1][system.name] = found
    say(f"round {number}: {system.name} {found.rate:,.0f} events/s")
    return True


def _leave_out(results: Results, system: System, reason: str, whole: str) -> None:
    results.left_out[system.name] = reason
    say(f"{system.name} left out: {whole}")
