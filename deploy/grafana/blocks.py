"""Building blocks of the Grafana dashboard: queries, panels, variables."""

from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.dashboard import QueryVariable, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NAMES = ("deployment_namespace", "deployment", "predictor", "model")
VIEW = 'window="$window", by="$by"'
#: The chosen model in the chosen window, on the chosen basis.
ONE = ", ".join(f'{name}="${name}"' for name in NAMES) + f", {VIEW}"
#: The same by time of request, for families that do not exist by time of feedback.
ONE_BY_REQUEST = ONE.replace('by="$by"', 'by="request"')
TALL, LOW = 9, 4
WIDE, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4


def merged(family: str, chosen: str) -> str:
    """The query of a model family, merged over the workers that publish it."""
    return f"max without (instance, pod) ({family}{{{chosen}}})"


def line(expr: str, legend: str) -> Dataquery:
    """A query over the time range of the dashboard."""
    return Dataquery().expr(expr).legend_format(legend)


def rows(expr: str, ref: str) -> Dataquery:
    """A query as of now, for a table; ``ref`` names its column."""
    return Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE).ref_id(ref)


def graph(title: str, text: str, unit: str, *queries: Dataquery, span: int = HALF) -> Timeseries:
    """A panel of lines over time from 0 up."""
    return free_graph(title, text, unit, *queries, span=span).min(0)


def free_graph(
    title: str, text: str, unit: str, *queries: Dataquery, span: int = HALF
) -> Timeseries:
    """A panel of lines over time that can be below 0; gaps of one or two scrapes are bridged, longer
    ones are shown."""
    panel = Timeseries().title(title).description(text).unit(unit).span(span).height(TALL)
    panel.datasource(SOURCE).fill_opacity(0).line_width(2).span_nulls(120_000)
    for query in queries:
        panel.with_target(query)
    return panel


def scores(
    title: str, text: str, unit: str, families: Mapping[str, str], chosen: str = ONE
) -> Timeseries:
    """A panel of scores of the chosen model, which can be below 0; ``families`` has the name of each."""
    lines = [line(merged(family, chosen), name) for family, name in families.items()]
    return free_graph(title, text, unit, *lines)


def interval_graph(
    title: str,
    text: str,
    unit: str,
    families: tuple[str, str, str],
    name: str,
    chosen: str = ONE,
) -> Timeseries:
    """A panel of a score of the chosen model in the band of its interval; ``families`` are those of the
    upper bound, of the score and of the lower bound."""
    names = ("at most", name, "at least")
    panel = scores(title, text, unit, dict(zip(families, names, strict=True)), chosen)
    _shade_interval(panel)
    return panel


def _shade_interval(panel: Timeseries) -> None:
    """Draw the lines "at least" and "at most" as a band."""
    faint = [
        DynamicConfigValue("custom.lineWidth", 0),
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "blue"}),
    ]
    panel.override_by_name("at least", faint)
    panel.override_by_name(
        "at most",
        [
            *faint,
            DynamicConfigValue("custom.fillBelowTo", "at least"),
            DynamicConfigValue("custom.fillOpacity", 20),
        ],
    )


def figure(title: str, text: str, unit: str, expr: str, span: int = SIXTH) -> Stat:
    """A panel of one number, as of now."""
    return (
        Stat()
        .title(title)
        .description(text)
        .unit(unit)
        .span(span)
        .height(LOW)
        .datasource(SOURCE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("-")
        .with_target(Dataquery().expr(expr).instant())
    )


def transform(kind: str, **options: Any) -> DataTransformerConfig:
    """A transformation of query results for a table."""
    return DataTransformerConfig(id_val=kind, options=options)


def thresholds(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    """Thresholds: each colour applies from its value up, None for the lowest."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def variable(name: str, label: str, query: str, first: str = "") -> QueryVariable:
    """A variable whose choices are the values of a label; ``first`` is the initial choice."""
    result = QueryVariable(name).label(label).query(query).datasource(SOURCE)
    result.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return result.current(VariableOption(text=first, value=first)) if first else result
