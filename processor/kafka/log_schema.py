"""The schema of an app's log, and the refusal of one that another release has written."""

import msgspec

from processor.domain.log.observations import SCHEMA_VERSION
from processor.errors import LogMismatchError
from processor.kafka.clients import Kafka
from processor.kafka.control_log import ControlRecord
from processor.kafka.log_reader import LogReader
from processor.settings import Settings


class _Head(msgspec.Struct, array_like=True):
    """The first fields of a record of any schema."""

    tag: str
    version: int


_decode = msgspec.msgpack.Decoder(_Head).decode


async def log_schema(
    kafka: Kafka, settings: Settings, epoch: ControlRecord, observations: str
) -> int:
    """Return the schema of a log: that of its ``epoch`` record, or of a first record of the topic
    ``observations``, since the oldest logs do not name it."""
    if epoch.schema:
        return epoch.schema
    for number in range(settings.partitions):
        reader = LogReader(kafka, observations, number)
        begin, end = await reader.bounds()
        async for records in reader.read(begin, min(begin + 1, end)):
            for record in records:
                head: _Head = _decode(record.value)
                return head.version
    return SCHEMA_VERSION


def check_schema(schema: int, settings: Settings) -> None:
    """Raise `LogMismatchError` with the remedy if this release does not write a schema."""
    app = settings.app_id
    if schema < SCHEMA_VERSION:
        raise LogMismatchError(
            f"the log of the app {app} has schema {schema}, this release writes {SCHEMA_VERSION}: stop "
            "the old workers, run `processor savepoint save PATH`, and `processor savepoint load PATH` "
            "with a new PROCESSOR_APP_ID; or set PROCESSOR_UPGRADE=auto"
        )
    if schema > SCHEMA_VERSION:
        raise LogMismatchError(
            f"the log of the app {app} has schema {schema}, this release writes {SCHEMA_VERSION}: use "
            "the release that wrote it, or a new PROCESSOR_APP_ID"
        )
