"""Quality metrics of deployed models: the public Python API.

`evaluate` gives the numbers of ``processor replay`` for a source, `compare` holds two of them against
each other, and a statistic of one's own gets a `JudgedItem`. Every name is imported when it is first
used, so that ``import processor`` costs nothing.
"""

from typing import TYPE_CHECKING

from processor.errors import ProcessorError

if TYPE_CHECKING:
    from processor.api import ConfusionMatrix, compare, evaluate
    from processor.domain.statistics.custom import JudgedItem

__all__ = ["ConfusionMatrix", "JudgedItem", "ProcessorError", "compare", "evaluate"]

if not TYPE_CHECKING:  # a type checker takes what it sees above, and no other name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'processor' has no attribute {name!r}")
        if name == "JudgedItem":  # needs little: a statistic of one's own runs in the worker too
            from processor.domain.statistics import custom

            return custom.JudgedItem
        from processor import api

        return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
