"""A packed load that is sent again: the same events of other requests."""

import re
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from bench.soak.repeat_sender import ROUNDS, PackedLoad
from bench.support.load import Load
from bench.support.rate_limit import packed, shares

_NOW = 1_800_000_000_000


class _Producer:
    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1 << 16, 0)


def _records(loads: PackedLoad, number: int) -> list[tuple[bytes, bytes, bytes]]:
    """Request, type and body of all records, whose checksums are right."""
    found = []
    for count, sending in loads.again(number, _NOW):
        held = 0
        for _, ready in sending:
            for batch in iter(MemoryRecords(ready._build()).next_batch, None):
                assert batch.validate_crc()
                for record in batch:
                    headers: dict[str, Any] = dict(record.headers)
                    found.append((headers["ce_requestid"], headers["ce_type"], record.value))
                    assert _NOW - 60_000 < record.timestamp <= _NOW
                    held += 1
            assert ready.size() == len(ready._build())
        assert held == count
    return found


def test_each_round_is_about_other_requests() -> None:
    load = Load(300)
    loads = PackedLoad(
        packed(_Producer(), share, 0, 3) for share in shares(load.events(), [100] * 10)
    )
    plain = [(dict(headers)["ce_requestid"], body) for headers, body in load.events()]
    first, other = _records(loads, 0), _records(loads, 0xABCD)
    assert sorted((one, body) for one, _, body in first) == sorted(plain)
    assert [one[1:] for one in first] == [one[1:] for one in other]
    ids = {old[0]: new[0] for old, new in zip(first, other, strict=True)}
    assert len(set(ids.values())) == len(ids) == 300
    assert not ids.keys() & set(ids.values())
    assert all(re.fullmatch(rb"[0-9a-f-]{36}", name) for name in ids.values())
    with pytest.raises(ValueError, match="round 65536"):
        next(loads.again(ROUNDS, _NOW))
