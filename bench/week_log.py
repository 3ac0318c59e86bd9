"""The log of `bench.week` in files, partition by partition."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.timestamps import MINUTE, SECOND

from .journal_file import JournalFiles, Message
from .packed_rows import feedback_rows, packed_batch, prediction_rows
from .rows import EPOCH, model_keys
from .traffic import START, Traffic

#: Rows of one record, as the packer has them.
_ROWS = 2000


def journal(folder: Path, number: int) -> Path:
    """Where a partition of the log is."""
    return folder / "journal" / str(number)


def write(traffic: Traffic, folder: Path) -> list[int]:
    """Put the traffic of a partition in files, a record a minute or more, and a tick; observations by
    hour."""
    folder.mkdir()
    files, models = JournalFiles(folder), model_keys(traffic.models)
    offset, written = 0, []
    for number, arrivals in enumerate(traffic.arrivals()):
        messages = []
        written.append(len(arrivals))
        made = arrivals["form"] < 0
        before = np.append(0, np.cumsum(made)).tolist()
        rows, said = arrivals[made], arrivals[~made]
        predictions = prediction_rows(
            rows["id"], rows["model"], START + rows["at"], rows["label"]
        )  # fmt: skip
        feedbacks = feedback_rows(
            said["id"], said["model"], START + said["at"], said["label"], said["form"]
        )
        bounds = arrivals["minute"].searchsorted(np.arange(61) + number * 60).tolist()
        for minute, (first, end) in enumerate(pairwise(bounds)):
            timestamp = (START + (number * 60 + minute) * MINUTE + 59 * SECOND) // 1_000_000
            for at in range(first, end, _ROWS):
                to = min(at + _ROWS, end)
                record = packed_batch(
                    models,
                    predictions.part(before[at], before[to]),
                    feedbacks.part(at - before[at], to - before[to]),
                )
                messages.append(Message(offset, timestamp, encode(record)))
                offset += 1
            tick = encode(Heartbeat(SCHEMA_VERSION, EPOCH, offset))
            messages.append(Message(offset, timestamp, tick))
            offset += 1
        files.write(number, messages)
    return written
