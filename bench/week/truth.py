"""Compare the counts of a simulated week with the truth about its traffic."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.tally.windows import TIERS

from ..support.rows import LABELS, RIGHT, WRONG, Ints
from .traffic import START, Expected, Flags
from .worker import WINDOWS, Buckets, CountsSource, Look, Share

_SECOND = 1_000_000_000
P = TypeVar("P")
K = TypeVar("K")


def expected(share: Share, hour: int) -> Expected:
    """The truth about all partitions of a worker after an hour."""
    parts = [traffic.expected((hour + 1) * 60) for traffic in share.values()]
    return Expected(
        sum((part.predictions for part in parts[1:]), parts[0].predictions),
        sum((part.judged for part in parts[1:]), parts[0].judged),
        sum(part.kept for part in parts),
        sum(part.alone for part in parts),
    )


def differences(share: Share, look: Look) -> list[str]:
    """The differences of the counts after an hour from the truth, a line each."""
    truth = expected(share, look.hour)
    clock = START // _SECOND + (look.hour + 1) * 3600 - 1
    wrong = [
        f"hour {look.hour}: {what} {found:,}, not {wanted:,}"
        for what, found, wanted in (
            ("requests in memory", look.kept, truth.kept),
            ("feedback alone", look.alone, truth.alone),
        )
        if found != wanted
    ]
    for line in (
        *_unequal("bucket", look.buckets, _buckets(truth, clock)),
        *_unequal("window", look.board, _board(truth, clock)),
    ):
        wrong.append(f"hour {look.hour}: {line}")
    return wrong


def _unequal(
    kind: str, found: Mapping[P, Mapping[K, Counts]], wanted: Mapping[P, Mapping[K, Counts]]
) -> Iterator[str]:
    for place in found.keys() | wanted.keys():
        here, there = found.get(place, {}), wanted.get(place, {})
        for one in here.keys() | there.keys():
            if here.get(one, Counts()) != there.get(one, Counts()):
                yield f"{kind} {place} {one}: {here.get(one)}, not {there.get(one)}"


def _buckets(truth: Expected, clock: int) -> Buckets:
    """Counts by tier and basis, of the buckets that the tier still keeps."""
    found = Buckets()
    seconds = _seconds(truth)
    for tier, (_, size, keep) in enumerate(TIERS):
        numbers = seconds // size if size else np.zeros_like(seconds)
        kept = numbers >= ((clock - keep) // size if keep else 0)
        for basis in range(2):
            found[tier, basis] = {
                (model, int(numbers[kept][at])): counts
                for model, at, counts in _sums(truth, basis, kept, numbers)
            }
    return found


def _board(truth: Expected, clock: int) -> CountsSource:
    """Counts by window and basis; a window ends with the bucket that holds the clock's second."""
    found = CountsSource()
    seconds = _seconds(truth)
    for name, length, tier in WINDOWS:
        size = TIERS[tier].size
        inside = np.ones(len(seconds), np.bool_)
        if length:
            last = clock // size
            inside = (seconds // size > last - length // size) & (seconds // size <= last)
        for basis in range(2):
            sums = _sums(truth, basis, inside, np.zeros_like(seconds))
            found[name, basis] = {model: counts for model, _, counts in sums}
    return found


def _seconds(truth: Expected) -> Ints:
    """The second since 1970 at which each minute begins."""
    return START // _SECOND + 60 * np.arange(truth.predictions.shape[1])


def _sums(
    truth: Expected, basis: int, chosen: Flags, numbers: Ints
) -> Iterator[tuple[str, int, Counts]]:
    """The counts of the chosen minutes, summed where the numbers are equal: model, position of the
    first among the chosen, counts."""
    if not chosen.any():
        return
    starts = np.flatnonzero(np.diff(numbers[chosen], prepend=-1))
    predictions = np.add.reduceat(truth.predictions[:, chosen], starts, axis=1)
    judged = np.add.reduceat(truth.judged[basis][:, chosen], starts, axis=1)
    for model, at in np.argwhere(judged.any(axis=(2, 3, 4)) | predictions.astype(bool)).tolist():
        counts = _counts(0 if basis else int(predictions[model, at]), judged[model, at])
        if not counts.is_empty():
            yield f"model-{model}", int(starts[at]), counts


def _counts(predictions: int, judged: NDArray[np.int64]) -> Counts:
    """Counts of predictions, and of judgements by actual, predicted and form."""
    forms = judged.sum(axis=(0, 1)).tolist()
    cells = {
        Cell(LABELS[actual], LABELS[predicted]): n
        for (actual, predicted), n in np.ndenumerate(judged.sum(axis=2))
        if n
    }
    return Counts(
        predictions,
        judged=sum(forms),
        correct=int(judged.sum(axis=2).trace()),
        rewards=forms[RIGHT] + forms[WRONG],
        reward_sum=forms[RIGHT] * MICRO,
        cells={cell: int(n) for cell, n in cells.items()},
    )
