"""What is compared: each system's name, its title in the table, and how it is run."""

from collections.abc import Callable
from dataclasses import dataclass

from . import bare, ours
from .measure import Job, Run
from .peers import kafka_streams, naive_faust, own_python


@dataclass(frozen=True)
class System:
    """`prepare` fetches what `run` needs, before anything is timed; it may raise PeerMissing.

    `once`: so slow that it runs in the first round alone, on a slice of the events.
    """

    name: str
    title: str
    run: Callable[[Job], Run]
    prepare: Callable[[], None] | None = None
    once: bool = False


SYSTEMS = (
    System("bare", "bare aiokafka + msgspec, decode only", bare.run),
    System("processor", "processor", ours.run),
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
