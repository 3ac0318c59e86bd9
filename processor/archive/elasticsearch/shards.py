"""The shards of indices, and the checkpoint up to which each can be read."""

import msgspec

from processor.archive.elasticsearch.http import NotReadyError

#: The fields of the index statistics to request.
STATS_FIELDS = [
    "indices.*.uuid",
    "indices.*.shards.*.routing.primary",
    "indices.*.shards.*.docs.count",
    "indices.*.shards.*.seq_no.global_checkpoint",
]


class Shard(msgspec.Struct, frozen=True, gc=False):
    """A shard of an index. All operations up to sequence number ``checkpoint`` are on every copy and
    visible, -1 for none. ``documents`` is the number of documents at about that time."""

    index: str
    uuid: str
    number: int
    checkpoint: int
    documents: int


class _Routing(msgspec.Struct, frozen=True):
    primary: bool = False


class _Docs(msgspec.Struct, frozen=True):
    count: int = 0


class _SeqNo(msgspec.Struct, frozen=True):
    global_checkpoint: int = -2


class _Copy(msgspec.Struct):
    routing: _Routing = _Routing()
    docs: _Docs = _Docs()
    seq_no: _SeqNo = _SeqNo()


class _Index(msgspec.Struct):
    uuid: str = ""
    shards: dict[str, list[_Copy]] = {}


class Stats(msgspec.Struct):
    """The `STATS_FIELDS` of the index statistics."""

    indices: dict[str, _Index] = {}

    def counts(self) -> dict[tuple[str, int], int]:
        """The number of visible documents of each shard, by index and shard number."""
        return {
            (index, int(number)): copy.docs.count
            for index, stats in self.indices.items()
            for number, copies in stats.shards.items()
            for copy in copies
            if copy.routing.primary
        }

    def shards(self, sizes: dict[str, int]) -> list[Shard]:
        """All shards of the indices; ``sizes`` is the number of shards of each. `NotReadyError` if a
        shard is missing: to skip it would lose its documents silently."""
        shards = []
        for index, size in sorted(sizes.items()):
            stats = self.indices.get(index, _Index())
            for number in range(size):
                copies = stats.shards.get(str(number), ())
                primary = next((copy for copy in copies if copy.routing.primary), None)
                if primary is None or primary.seq_no.global_checkpoint < -1:
                    raise NotReadyError(f"shard {number} of {index} has no working primary")
                checkpoint, documents = primary.seq_no.global_checkpoint, primary.docs.count
                shards.append(Shard(index, stats.uuid, number, checkpoint, documents))
        return shards


_decode_stats = msgspec.json.Decoder(Stats).decode
_decode_settings = msgspec.json.Decoder(dict[str, dict[str, dict[str, str]]]).decode


def parse_stats(body: object) -> Stats:
    """The statistics of indices, by shard; empty if there is no body."""
    return _decode_stats(body if isinstance(body, bytes) else b"{}")


def parse_sizes(body: object) -> dict[str, int]:
    """The number of shards of each index, from its flat settings."""
    settings = _decode_settings(body if isinstance(body, bytes) else b"{}")
    return {
        index: int(content["settings"]["index.number_of_shards"])
        for index, content in settings.items()
    }
