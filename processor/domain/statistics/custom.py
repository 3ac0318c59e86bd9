"""Custom statistics: classes that a user writes and the models file names, each with two pure functions.

``contribute`` says what a judged item adds, as integers by key; ``scores`` reads scores from their sums.
Since only integers are added and taken back, such a statistic is as exact as the others.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from operator import index
from typing import NamedTuple, Protocol

from processor.domain.memo import Memo
from processor.domain.statistics.sums import Sum, Sums, add
from processor.domain.values import DEFAULT_UNIT, Task, fits

logger = logging.getLogger(__name__)

#: The most keys that an item may contribute to, and the most scores that a statistic may have.
MAX_KEYS, MAX_SCORES = 100, 64
#: The largest amount of a key: sums of a hundred million of these still fit into 128 bits.
MAX_AMOUNT = 10**30
#: Contributions that are kept by item, so that the same item is taken back as it was added.
_MAX_ITEMS = 50_000
#: Separates a statistic from its key in the label of a sum.
_SEPARATOR = "\0"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: Ends of names that mean something else in Prometheus.
_RESERVED = ("_total", "_count", "_sum", "_bucket", "_info", "_created")

#: A label, a number in units, or the labels of a label set, sorted.
Value = str | int | tuple[str, ...]


class JudgedItem(NamedTuple):
    """A judged item, as a custom statistic gets it.

    ``task`` says what ``predicted`` and ``actual`` are: labels for "classification", numbers as integers
    in units of 10^``unit`` for "regression", label sets as sorted tuples for "multilabel". ``actual`` is
    None if all that is known is that the prediction was wrong. ``correct`` is None for a number without
    a tolerance.

    ``probabilities`` are pairs of a class and q, its probability times 65535, rounded. They are those of
    all classes if there are 16 or fewer, else of the ten most probable ones. For a label with a
    confidence there is only that of the predicted label, and without probabilities there is none.

    >>> item = JudgedItem("classification", "spam", "ham", False, (("ham", 16384), ("spam", 49151)))
    >>> item.q("ham"), item.q("eggs")
    (16384, None)
    """

    task: Task
    predicted: Value
    actual: Value | None
    correct: bool | None
    probabilities: tuple[tuple[str, int], ...] = ()
    unit: int = DEFAULT_UNIT

    def q(self, label: str) -> int | None:
        """The probability of a class times 65535, rounded; None if it is not known."""
        return next((q for name, q in self.probabilities if name == label), None)


class Statistic(Protocol):
    """A class that the models file names; it is created without arguments. It may have a
    ``name`` as well, which is otherwise the class's name in snake case."""

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        """Return the amounts that an item adds to the sums, by key. They must depend on the item alone.
        An item for which the result is empty does not belong to this statistic."""
        ...

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        """Return the scores by name, from the sums of all items; None is undefined. The sum of a key to
        which no item has contributed is 0."""
        ...


class NamedStatistic:
    """A statistic with its name, its help (the first line of the class's docstring) and its place,
    ``package.module:Class``. Its functions never raise: the first error of each is logged."""

    def __init__(self, place: str, kind: type[Statistic]) -> None:
        self.place = place
        self.kind = kind
        self.name = getattr(kind, "name", None) or _snake_case(kind.__name__)
        lines = (kind.__doc__ or "").strip().splitlines()
        self.help = lines[0].strip() if lines else f"Scores of {place}."
        self._statistic = kind()
        self._known = Memo[JudgedItem, tuple[tuple[str, int], ...] | None](_MAX_ITEMS)
        self._logged: set[str] = set()

    def contribution(self, item: JudgedItem) -> tuple[tuple[str, int], ...] | None:
        """Return what an item adds to the sums; None if the statistic failed."""
        if item in self._known:
            return self._known[item]
        found = None
        try:
            found = _amounts(self._statistic.contribute(item))
        except Exception as error:  # it is the user's code: whatever it raises, the stream goes on
            self._log("contribute", error, f"{item}: the item is counted as failed")
        return self._known.add(item, found)

    def scores(self, sums: Mapping[str, int]) -> dict[str, float | None]:
        """The scores of some sums; empty if the statistic failed."""
        try:
            return _checked_scores(self._statistic.scores(Counter(sums)))
        except Exception as error:  # as above: the other metrics are still published
            self._log("scores", error, f"{dict(sums)}: it has no scores")
            return {}

    def _log(self, function: str, error: Exception, of: str) -> None:
        if function not in self._logged:
            self._logged.add(function)
            logger.error(
                "statistic %s: %s failed with %s: %s, of %s (logged once)",
                self.place, function, type(error).__name__, error, of[:500],
            )  # fmt: skip


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _amounts(found: object) -> tuple[tuple[str, int], ...]:
    """The amounts by key that a statistic returned; `TypeError` or `ValueError` if they are not valid.

    >>> _amounts({"cost": 1.5})
    Traceback (most recent call last):
    TypeError: the amount of 'cost' is 1.5: return an integer, such as round(1000000 * x)
    """
    if not isinstance(found, Mapping):
        raise TypeError(f"it returned {found!r}: return a dict of integers by key")
    if len(found) > MAX_KEYS:
        raise ValueError(f"it returned {len(found)} keys: return {MAX_KEYS} at most")
    amounts = []
    for key, amount in found.items():
        if not isinstance(key, str) or not fits(key):
            raise TypeError(f"it returned the key {key!r}: a key is a text of at most 256 bytes")
        key.encode()  # a lone surrogate cannot stand on the log
        try:
            number = int(index(amount))
        except TypeError:
            raise TypeError(
                f"the amount of {key!r} is {amount!r}: return an integer, such as "
                "round(1000000 * x)"
            ) from None
        if abs(number) > MAX_AMOUNT:
            raise ValueError(f"the amount of {key!r} is {number}: return 1e30 at most")
        amounts.append((str(key), number))
    return tuple(amounts)


def _checked_scores(found: object) -> dict[str, float | None]:
    """The scores that a statistic returned; a score that is not finite is undefined. `TypeError` or
    `ValueError` if they are not valid."""
    if not isinstance(found, Mapping):
        raise TypeError(f"it returned {found!r}: return a dict of numbers by name")
    if len(found) > MAX_SCORES:
        raise ValueError(f"it returned {len(found)} scores: return {MAX_SCORES} at most")
    scores: dict[str, float | None] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not name or not fits(name):
            raise TypeError(f"it returned the score {name!r}: a name is a text of 1 to 256 bytes")
        name.encode()
        number = None if value is None else float(value)
        scores[str(name)] = number if number is not None and math.isfinite(number) else None
    return scores


class Registry:
    """The custom statistics that this process runs.

    ``published`` are those that the models file names, by name. A prediction on the log names the
    statistics that its entry had, which are loaded when they are first needed.
    """

    def __init__(self) -> None:
        self.published: dict[str, NamedStatistic] = {}
        self._load: Callable[[str], type[Statistic]] | None = None
        self._known: dict[str, NamedStatistic] = {}
        self._missing: set[str] = set()

    def allow(self, load: Callable[[str], type[Statistic]] | None) -> None:
        """Set the function that finds the class at a place, and raises `ValueError` with a message for
        users if it can't; None where custom statistics must not run."""
        self._load = load
        if load is None:
            self._known, self.published = {}, {}
        self._missing = set()

    def prepare(self, place: str) -> NamedStatistic:
        """Load the statistic at a place. `ValueError` with a message for users if it can't be loaded."""
        if self._load is None:
            raise ValueError(
                "is code of your own, which runs only with PROCESSOR_CUSTOM_STATISTICS=on: set it, or "
                "remove the statistic"
            )
        kind = self._load(place)
        known = self._known.get(place)
        if known is not None and known.kind is kind:
            return known
        missing = [name for name in ("contribute", "scores") if not hasattr(kind, name)]
        if missing:
            raise ValueError(f"has no function {missing[0]}: write contribute and scores")
        try:
            found = NamedStatistic(place, kind)
        except Exception as error:
            raise ValueError(f"can't be created: {type(error).__name__}: {error}") from None
        if not _NAME.fullmatch(str(found.name)) or str(found.name).endswith(_RESERVED):
            raise ValueError(
                f"has the name {found.name!r}: give it one of lower-case letters, digits and '_', 40 "
                f"at most, which does not end in {', '.join(_RESERVED)}"
            )
        self._known[place] = found
        return found

    def publish(self, places: Iterable[str]) -> None:
        """Publish the statistics at these places, and no others."""
        found = [self.prepare(place) for place in places]
        self.published = {each.name: each for each in sorted(found, key=lambda one: one.name)}

    def find(self, place: str) -> NamedStatistic | None:
        """The statistic at a place; None if it is not there or must not run, which is logged once."""
        found = self._known.get(place)
        if found is None and place not in self._missing:
            try:
                return self.prepare(place)
            except ValueError as error:
                self._missing.add(place)
                logger.error("statistic %s %s; its items are counted as failed", place, error)
        return found


#: The statistics of this process.
registry = Registry()


def contribute(item: JudgedItem, places: Iterable[str], sums: Sums) -> None:
    """Add what an item contributes to the statistics at some places."""
    for place in places:
        statistic = registry.find(place)
        found = None if statistic is None else statistic.contribution(item)
        if statistic is None or found is None:
            add(sums, Sum.CUSTOM_FAILED, 1, place if statistic is None else statistic.name)
            continue
        if found:
            add(sums, Sum.CUSTOM_ITEMS, 1, statistic.name)
        for key, amount in found:
            add(sums, Sum.CUSTOM, amount, statistic.name + _SEPARATOR + key)


def failed(sums: Sums) -> dict[str, int]:
    """How many items a statistic failed on, by its name (by its place, if it could not be loaded)."""
    found = [(label, n) for (kind, label, _), n in sums.items() if kind == Sum.CUSTOM_FAILED and n]
    return dict(sorted(found))


def scores(sums: Sums) -> dict[str, dict[str, float | None]]:
    """The scores of all published statistics that have items, by the statistic and the score."""
    published = registry.published
    if not published:
        return {}
    found: dict[str, dict[str, int]] = {}
    items = set()
    for (kind, label, _), n in sums.items():
        if kind == Sum.CUSTOM:
            name, _, key = label.partition(_SEPARATOR)
            found.setdefault(name, {})[key] = n
        elif kind == Sum.CUSTOM_ITEMS and n > 0:
            items.add(label)
    return {
        name: published[name].scores(found.get(name, {})) for name in published if name in items
    }
