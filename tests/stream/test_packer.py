"""What goes onto the log can go there: a dead letter of any size."""

from processor.domain.decode import Decoder
from processor.domain.events import RawEvent
from processor.domain.models import ModelRules
from processor.domain.telemetry import Telemetry
from processor.stream.connection import MAX_RECORD
from processor.stream.packer import Packer


class _Producer:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, dict[str, bytes]]] = []

    async def send(self, topic: str, value: bytes | None, **options: object) -> object:
        headers = options["headers"]
        assert isinstance(headers, list)
        self.sent.append((value, dict(headers)))
        return None


async def test_a_dead_letter_that_no_record_can_hold_is_kept_without_its_body() -> None:
    producer = _Producer()
    packer = Packer(Decoder(ModelRules(), Telemetry()), producer, "o", "d", 1, "e")
    for size in (100, MAX_RECORD):
        packer.add(RawEvent((("a", b"b"),), bytes(size), 5), ("topic", 3, 7))
    await packer.send()
    (small, _), (none, headers) = producer.sent
    assert (small, none) == (bytes(100), None)
    assert headers["dead-letter-reason"] == b"not_cloudevent"
    assert headers["dead-letter-detail"].endswith(b"too large to be kept: see topic/3@7")
    assert headers["a"] == b"b"
