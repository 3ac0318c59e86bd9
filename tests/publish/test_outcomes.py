"""The counters of outcomes that the metrics port serves, in both formats."""

from aiohttp.test_utils import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.sums import Sums
from processor.domain.statistics.verdicts import contribute_retraction
from processor.domain.tally.bucket_counts import BucketCounts
from processor.domain.tally.cohorts import Cohorts
from tests.publish.served import Site
from tests.support.fakes import EXPERIMENT, UNJUDGED, FakeCounts, experiment_counts
from tests.support.scrape_parser import Series, parse_openmetrics, values
from tests.support.valued_counts import number_counts

NUMBERS = ModelKey("shop", "prices", "default", "trees")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def bucket(counts: Counts, **retracted: int) -> BucketCounts:
    sums: Sums = dict(counts.sums)
    for verdict, items in retracted.items():
        contribute_retraction(verdict, sums, items)
    return BucketCounts(*counts.totals(), counts.cells, sums)


def outcomes(series: dict[Series, float], key: ModelKey) -> dict[tuple[str, str], float]:
    """The counters of a model by family and verdict."""
    found = {}
    for (name, labels), value in series.items():
        own = dict(labels)
        if name.startswith("model_outcomes") and own["deployment"] == key.deployment:
            names = (own["deployment_namespace"], own["predictor"], own["model"])
            assert names == (key.namespace, key.predictor, key.model)
            assert len(own) == 5  # without window and basis
            found[name, own["verdict"]] = value
    return found


def expected(right: int, wrong: int, no_right: int = 0, no_wrong: int = 0) -> dict[object, int]:
    counted, retracted = "model_outcomes_total", "model_outcomes_retracted_total"
    return {
        (counted, "right"): right,
        (counted, "wrong"): wrong,
        (retracted, "right"): no_right,
        (retracted, "wrong"): no_wrong,
    }


async def test_counters_are_today_s_counts_and_what_was_taken_back() -> None:
    numbers = number_counts([(1, 1), (2, 2), (3, 3), (1, 2), (1, 3)], (0, -1))
    assert (numbers.judged, numbers.correct) == (5, 3)
    numbers.add(number_counts([(4, 3)] * 4))
    of_all_time = {
        EXPERIMENT: bucket(experiment_counts(), right=2, wrong=30),
        UNJUDGED: bucket(Counts(predictions=5)),
        # Four of nine numbers were judged without a tolerance.
        NUMBERS: bucket(numbers),
    }
    source = FakeCounts({key: counts.copy() for key, counts in of_all_time.items()})
    source.late = {key: Cohorts({}, counts) for key, counts in of_all_time.items()}
    async with TestClient(await Site(source).serve()) as client:
        text = await (await client.get("/metrics")).text()
        answer = await client.get("/metrics", headers={"Accept": OPENMETRICS})
        families: list[Metric] = parse_openmetrics(await answer.text())
    for series in (values(parse_text(text)), values(families)):
        # 46 of 63 are right now.
        assert outcomes(series, EXPERIMENT) == expected(48, 47, 2, 30)
        assert outcomes(series, UNJUDGED) == expected(0, 0)
        assert outcomes(series, NUMBERS) == expected(3, 2)
    types = {family.name: family.type for family in families}
    assert types["model_outcomes"] == types["model_outcomes_retracted"] == "counter"
