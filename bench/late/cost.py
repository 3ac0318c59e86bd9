"""What the nowcast costs: CPU time an estimate, memory a model, CPU time and bytes of log an event."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter, process_time

from msgspec import structs

from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch, RawDeltaBatch, pack_sums, unpack
from processor.domain.log.records import decode_raw_delta, encode
from processor.domain.model_key import ModelKey
from processor.domain.statistics.delays import Cohort
from processor.domain.statistics.sums import DELAYS
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.tally import Tally
from processor.publish.estimates.live import LiveEstimates
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, feedback, pack, prediction
from tests.support.domain.join_model import Observation, unpacked
from tests.support.domain.late_cohorts import tallied
from tests.support.domain.tally_model import VERSION, WINDOWS
from tests.support.fakes import FakeCounts
from tests.support.late_worlds import DAY, Events, World

from ..support.measure import resident_bytes

_MODELS, _ROUNDS = 60, 5
#: Models of a large worker, those of which it is measured, and seconds between scrapes.
_MANY, _TRIED, _SCRAPE = 1000, 200, 15
_NS = 1_000_000_000
#: Observations of a record.
_RECORD = 200


def costs() -> Iterator[str]:
    """Yield what each part costs, a line each."""
    events = Events(World(), 1)
    now = 31.0 * DAY
    hours = events.cohorts(now)
    gc.collect()
    # What the first ones leave free is not measured.
    kept = [_closed(tallied(hours)) for _ in range(3)]
    gc.collect()
    before = resident_bytes()
    kept += [_closed(tallied(hours)) for _ in range(_MODELS)]
    gc.collect()
    memory = (resident_bytes() - before) / _MODELS / 1024
    yield f"counts of delays of 31 days, in memory: {memory:.0f} KiB a model"
    yield f"estimates of a model in five windows: {1000 * _seconds(hours, now):.0f} ms of CPU"
    age = _age(hours, now) * _MANY / _TRIED
    yield f"estimates of {_MANY} such models: all are made anew within {age / 60:.0f} min"
    records, count = _records(Events(World(days=6), 1))
    whole, bare = [encode(each) for each in records], [encode(_bare(each)) for each in records]
    times = [_microseconds(each, count) for each in (whole, bare)]
    yield f"tally: {times[0]:.2f} us of CPU an event, {times[1]:.2f} without"
    sizes = [sum(map(len, each)) / count for each in (whole, bare)]
    yield f"deltas on the log: {sizes[0]:.1f} bytes an event, {sizes[1]:.1f} without"


def _seconds(hours: Mapping[int, Cohort], now: float) -> float:
    """The CPU time of a model's estimates, by the clock of the service: the best of some rounds."""
    found, models = [], _models(hours, 1)
    for _ in range(_ROUNDS):
        began = process_time()
        asyncio.run(_live().refresh(models, now))
        found.append(process_time() - began)
    return min(found)


def _age(hours: Mapping[int, Cohort], now: float) -> float:
    """The seconds until all of many models have estimates, if a scrape asks for them every so often."""
    clock = [0.0]
    live, models = _live(lambda: clock[0]), _models(hours, _TRIED)
    while len(live.by_model()) < _TRIED:
        clock[0] += _SCRAPE
        asyncio.run(live.refresh(models, now + clock[0]))
    return clock[0]


def _live(timer: Callable[[], float] = perf_counter) -> LiveEstimates:
    return LiveEstimates(Settings().windows, 7 * DAY, timer)


def _models(hours: Mapping[int, Cohort], number: int) -> FakeCounts:
    """Models that all have the same cohorts."""
    cohorts = _closed(tallied(hours))
    return FakeCounts(late={ModelKey("n", f"d{n}", "p", "m"): cohorts for n in range(number)})


def _closed(cohorts: Cohorts) -> Cohorts:
    """The cohorts once their counts are packed, as those of most hours are."""
    for counts in cohorts.by_hour.values():
        counts.close_unchanged()
        counts.close_unchanged()
    return cohorts


def _records(events: Events) -> tuple[list[DeltaBatch], int]:
    """The deltas of some events in the order of their times, and the number of these."""
    timed: list[tuple[float, Observation]] = []
    for number, time in enumerate(events.time.tolist()):
        name, at = f"r{number}", time + float(events.delay[number])
        timed.append((time, prediction(name, str(events.predicted[number]), int(time * _NS))))
        if events.labelled[number]:
            timed.append((at, feedback(name, str(events.actual[number]), int(at * _NS))))
    timed.sort(key=lambda each: each[0])
    fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
    found: list[DeltaBatch] = []
    for offset, first in enumerate(range(0, len(timed), _RECORD)):
        some = [one for _, one in timed[first : first + _RECORD]]
        found += unpacked(fold.apply(offset, int(timed[first][0] * _NS), pack(*some))).values()
    return found, len(timed)


def _bare(batch: DeltaBatch) -> DeltaBatch:
    """A batch without the sums of delays."""
    labels = {label: place for place, label in enumerate(batch.labels)}
    deltas = []
    for delta in batch.deltas:
        sums = {k: n for k, n in unpack(delta, batch.labels).sums.items() if k[0] not in DELAYS}
        deltas.append(structs.replace(delta, sums=pack_sums(sums, labels)))
    return structs.replace(batch, labels=[*labels], deltas=deltas)


def _microseconds(records: Sequence[bytes], count: int) -> float:
    """The CPU time an event of the fastest of some rounds."""
    times = []
    for _ in range(_ROUNDS):
        tally = Tally(VERSION, LOG_ID, WINDOWS)
        began = process_time()
        for offset, record in enumerate(records):
            batch = decode_raw_delta(record)
            assert isinstance(batch, RawDeltaBatch)
            tally.apply(offset, offset, batch)
        times.append(process_time() - began)
    return 1e6 * min(times) / count
