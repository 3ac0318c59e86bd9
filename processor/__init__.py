"""Quality metrics of deployed models: the public Python API.

`evaluate` computes the metrics of stored predictions, as ``processor replay`` does. `compare` compares
two such results. `ConfusionMatrix` counts pairs of actual and predicted labels. A custom statistic
receives each judged item as a `JudgedItem`. All errors are a `ProcessorError`.

Each name is imported when it is first used, so ``import processor`` itself is quick.
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
        if name == "JudgedItem":  # needs little: custom statistics run in the worker too
            from processor.domain.statistics import custom

            return custom.JudgedItem
        from processor import api

        return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
