"""Faust's Kafka transport, mended: what is fetched while it is paused is not lost.

Faust pauses a partition by not naming it when it asks aiokafka for records, and throws away what comes
while its flow is stopped. A rebalance empties the set of names while a question is on its way, and to
aiokafka no names mean all partitions: it hands out records of any, Faust throws them away, and then
seeks back to the committed offset, which a changelog has none of. Where that happens between the
recovery's seek and its first record, those records never come, and the recovery never ends.
"""

from typing import Any

from aiokafka.structs import ConsumerRecord, TopicPartition

from processor.kafka.faust_import import driver

Records = dict[TopicPartition, list[ConsumerRecord]]


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TopicPartition] | None, **limits: Any
    ) -> Records:
        found: Records = await super()._fetch_records(consumer, active_partitions, **limits)
        wanted = (active_partitions or ()) if self.consumer.flow_active else ()
        # No await from here on: the position is still the one that these records moved.
        for partition in [partition for partition in found if partition not in wanted]:
            consumer.seek(partition, found.pop(partition)[0].offset)
        return found


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):  # type: ignore[misc]
    """For `faust.App.transport`."""

    Consumer = _Consumer
