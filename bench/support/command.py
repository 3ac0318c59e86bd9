"""Command lines of the benchmarks: a help text with an example, progress, expected failures."""

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from tests.support.servers import ServerError, kafka_server

from .measure import BenchError, end_in_order_on_sigterm

P = ParamSpec("P")


def parser(module: str, description: str | None, example: str) -> ArgumentParser:
    """A parser whose help is the module's docstring and one example of its arguments.

    `module` is the name that follows `python -m`.
    """
    return ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"example: python -m {module} {example}".rstrip(),
        formatter_class=RawDescriptionHelpFormatter,
    )


def command(main: Callable[P, int]) -> Callable[P, int]:
    """Decorate a `main`: a BenchError or ServerError becomes a line on stderr and exit code 1.

    SIGTERM ends the process in order, so that the servers it started end with it.
    """

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        end_in_order_on_sigterm()
        try:
            return main(*args, **kwargs)
        except (BenchError, ServerError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1

    return run


@contextmanager
def kafka_and_folder() -> Iterator[tuple[str, Path]]:
    """The bootstrap servers of a Kafka broker, and an empty folder; both end with the block."""
    with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield broker.bootstrap, Path(folder)


def say(line: str) -> None:
    """Print progress on stderr, apart from the tables on stdout."""
    print(line, file=sys.stderr, flush=True)
