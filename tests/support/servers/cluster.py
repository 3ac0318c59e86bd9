"""Three Kafka brokers on one machine, any of which may be killed."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from .kafka import KafkaServer, new_uuid

_REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A killed broker's partitions move to another leader after its session: not after 9 s.
    "replica.lag.time.max.ms": "5000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
}


class KafkaCluster:
    """Each broker is a controller too, so one can be missed."""

    def __init__(self, settings: Mapping[str, str] | None = None, size: int = 3) -> None:
        cluster_id = new_uuid()
        common = {**_REPLICATED, **(settings or {})}
        self.brokers = [
            KafkaServer(common, node_id=number, heap="256m", cluster_id=cluster_id)
            for number in range(1, size + 1)
        ]
        voters = ",".join(
            f"{broker.node_id}@127.0.0.1:{broker.controller_port}" for broker in self.brokers
        )
        for broker in self.brokers:
            broker.settings["controller.quorum.voters"] = voters

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers)

    def __enter__(self) -> Self:
        # At once: a broker alone has no quorum and would wait for the others.
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            try:
                list(pool.map(KafkaServer.start, self.brokers))
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Stop all, and remove their files."""
        # Killed: an orderly stop of the last ones waits for a quorum that is no more.
        for broker in self.brokers:
            broker.kill()
            broker.close()
