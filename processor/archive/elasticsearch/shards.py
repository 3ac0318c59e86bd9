"""Which shards there are, and how far each can be read."""

import msgspec

from processor.archive.elasticsearch.http import NotReadyError

#: What of the statistics is asked for.
STATS_FIELDS = [
    "indices.*.uuid",
    "indices.*.shards.*.routing.primary",
    "indices.*.shards.*.docs.count",
    "indices.*.shards.*.seq_no.global_checkpoint",
]


class Shard(msgspec.Struct, frozen=True, gc=False):
    """A shard of an index. ``checkpoint``: all operations up to this sequence number are on every
    copy and visible, -1 for none. ``documents`` is how many it held about then."""

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
    """What `STATS_FIELDS` of the statistics say."""

    indices: dict[str, _Index] = {}

    def counts(self) -> dict[tuple[str, int], int]:
        """The visible documents of each shard, by index and number."""
        return {
            (index, int(number)): copy.docs.count
            for index, held in self.indices.items()
            for number, copies in held.shards.items()
            for copy in copies
            if copy.routing.primary
        }

    def shards(self, sizes: dict[str, int]) -> list[Shard]:
        """All shards of the indices that have so many; `NotReadyError` where one is missing: to
        leave it out would be a loss in silence."""
        shards = []
        for index, size in sorted(sizes.items()):
            held = self.indices.get(index, _Index())
            for number in range(size):
                copies = held.shards.get(str(number), ())
                primary = next((copy for copy in copies if copy.routing.primary), None)
                if primary is None or primary.seq_no.global_checkpoint < -1:
                    raise NotReadyError(f"shard {number} of {index} has no working primary")
                checkpoint, documents = primary.seq_no.global_checkpoint, primary.docs.count
                shards.append(Shard(index, held.uuid, number, checkpoint, documents))
        return shards


_decode_stats = msgspec.json.Decoder(Stats).decode
_decode_settings = msgspec.json.Decoder(dict[str, dict[str, dict[str, str]]]).decode


def parse_stats(body: object) -> Stats:
    """Statistics of indices, by shard."""
    return _decode_stats(body if isinstance(body, bytes) else b"{}")


def parse_sizes(body: object) -> dict[str, int]:
    """The number of shards of each index, from its flat settings."""
    settings = _decode_settings(body if isinstance(body, bytes) else b"{}")
    return {
        index: int(content["settings"]["index.number_of_shards"])
        for index, content in settings.items()
    }
