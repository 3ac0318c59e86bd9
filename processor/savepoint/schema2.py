"""The state of an app of schema 2, that of release 0.1.0, for a savepoint."""

from processor.domain.log import schema2
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.records import RawDeltaRecord
from processor.domain.tally.tally import BucketBlock
from processor.stream.tally_stage import TallyStage


class Schema2TallyStage(TallyStage):
    """A tally of schema 2, whose counts are of labels alone."""

    schema = schema2.VERSION

    @staticmethod
    def decode_delta(value: bytes) -> DeltaBatch | RawDeltaRecord:
        """See `TallyStage`."""
        return schema2.decode_delta(value)

    @staticmethod
    def decode_block(value: bytes) -> BucketBlock:
        """See `TallyStage`."""
        old = schema2.decode_block(value)
        buckets = [(*bucket, b"", b"") for bucket in old.buckets]
        return BucketBlock(old.version, old.log_id, old.offset, old.last, old.labels, buckets)
