"""The options that ``processor replay`` and ``processor report`` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from processor.cli.options import Duration, Time
from processor.domain.timestamps import INSTANTS
from processor.domain.values import Task
from processor.report.command import FORMATS

F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator that adds several options, in the order in which the help lists them."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_selection_options = _options(
    click.option(
        "--from", "start", type=Time(), help=f"First time that counts (inclusive): {INSTANTS}."
    ),
    click.option(
        "--to",
        "end",
        type=Time(),
        help="End of the time that counts (exclusive); written as --from.",
    ),
    click.option(
        "--last",
        type=Duration(),
        help="Only this span before now, such as 24h or 7d; in place of --from and --to.",
    ),
    click.option("--as-of", type=Time(), help="Ignore events after this time; written as --from."),
    click.option(
        "--nowcast",
        is_flag=True,
        help="Add an estimate of the scores once late labels have arrived, from what was known at "
        "--as-of, and the drift of the predictions.",
    ),
    click.option(
        "--by",
        type=click.Choice(["request", "feedback"]),
        default="request",
        show_default=True,
        help="The time that counts: that of the prediction or of the feedback.",
    ),
    click.option(
        "--models", type=click.Path(path_type=Path), help="Models file (PROCESSOR_MODELS)."
    ),
    click.option(
        "--task",
        type=click.Choice(get_args(Task)),
        help="What the models answer, where the models file does not say it: a label, a number, or a "
        "set of labels. Default: by each row.",
    ),
    click.option(
        "--index",
        default="",
        help="Index pattern of an Elasticsearch source (PROCESSOR_INDEX).",
    ),
    click.option("--namespace", default="", help="Only this namespace."),
    click.option(
        "--deployment",
        default="",
        metavar="NAME|COLUMN",
        help="Only this deployment. Table: the column of the deployments, or the name of all rows.",
    ),
)
_table_options = _options(
    click.option(
        "--predicted",
        default="",
        metavar="COLUMN",
        help="Table: column of the predictions. Default: prediction.",
    ),
    click.option(
        "--actual",
        default="",
        metavar="COLUMN",
        help="Table: column of the true labels. Default: actual.",
    ),
    click.option(
        "--score",
        multiple=True,
        metavar="COLUMN[=CLASS]",
        help="Table: column with the scores of a class; may be repeated. Default: score_CLASS.",
    ),
    click.option(
        "--id",
        "id_column",
        default="",
        metavar="COLUMN",
        help="Table: column of the request ids. Default: request_id, or else the row's number.",
    ),
    click.option(
        "--time",
        "time_column",
        default="",
        metavar="COLUMN",
        help="Table: column of the predictions' times. Default: time, or else the row's number.",
    ),
    click.option(
        "--feedback-time",
        default="",
        metavar="COLUMN",
        help="Table: column of the true labels' times. Default: feedback_time, or else the "
        "prediction's time.",
    ),
)
_reading_options = _options(
    click.option(
        "--strict",
        is_flag=True,
        help="Stop at a line that is not an event, or where a file is cut off.",
    ),
    click.option(
        "--resume",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Keep what was read from an Elasticsearch source in FILE: after an interruption the same "
        "command continues from there. FILE is removed at the end.",
    ),
)


def _output_options(default_format: str) -> Callable[[F], F]:
    return _options(
        click.option(
            "--format", type=click.Choice(FORMATS), default=default_format, show_default=True
        ),
        click.option(
            "--output",
            default="",
            help="File to write; default stdout. For openmetrics also a folder, which gets a file "
            "for every two hours: an existing one, or a name with / at its end.",
        ),
        click.option(
            "--step",
            type=Duration(),
            default="60s",
            show_default=True,
            help="Time between two samples of openmetrics.",
        ),
        click.option(
            "--recent", is_flag=True, help="Allow openmetrics samples of the last 3 hours."
        ),
        click.option(
            "--store",
            is_flag=True,
            help="Keep the result in the Elasticsearch of PROCESSOR_ARCHIVE too.",
        ),
    )


def replay_options(default_format: str) -> Callable[[F], F]:
    """The options that ``processor replay`` and ``processor report`` share."""
    return _options(
        _selection_options, _table_options, _output_options(default_format), _reading_options
    )
