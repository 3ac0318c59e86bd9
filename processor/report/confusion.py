"""The confusion matrix of the Python API."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from processor.domain.interpreter import interpret, resolve_truth
from processor.domain.model_key import ModelKey
from processor.domain.results import CellCount, ModelResult, model_result
from processor.domain.row_reader import read_row
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.values import Schema
from processor.errors import ProcessorError
from processor.replay.tables.cells import plain
from processor.report.formats.matrix import natural

if TYPE_CHECKING:
    from types import ModuleType

    import pandas


class ConfusionMatrix:
    """A confusion matrix: how many items have each pair of an actual and a predicted label.

    ``labels`` are sorted, with the numbers in them by value; ``counts[i][j]`` items of the actual label
    ``labels[i]`` were predicted as ``labels[j]``.

    >>> matrix = ConfusionMatrix.from_pairs([("cat", "cat"), ("cat", "dog"), ("dog", "dog")])
    >>> matrix.labels, matrix.counts
    (('cat', 'dog'), ((1, 1), (0, 1)))
    >>> matrix["cat", "dog"], matrix.total, matrix.scores.classes["cat"].recall
    (1, 3, 0.5)
    """

    def __init__(self, cells: Mapping[tuple[str, str], int]) -> None:
        """Make a matrix of counts by (actual label, predicted label)."""
        self._cells = {Cell(*cell): count for cell, count in cells.items() if count}
        found = {label for cell in self._cells for label in cell}
        self.labels = tuple(sorted(found, key=natural))
        self.counts = tuple(
            tuple(self._cells.get(Cell(actual, predicted), 0) for predicted in self.labels)
            for actual in self.labels
        )

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Any, Any]]) -> "ConfusionMatrix":
        """Count pairs of an actual and a predicted value, such as ``zip(y_true, y_pred)``.

        Values are read by the counting rules: 1, 1.0 and "1" are one label, and 0.7 is a probability
        that gives the label "1". Pairs without a label on one of the sides are left out.
        """
        counts: dict[tuple[str, str], int] = {}
        for actual, predicted in pairs:
            truth, row = plain(actual), plain(predicted)
            if truth is None or row is None:
                continue
            answer, _ = interpret(read_row(row), Schema())
            label, _ = resolve_truth(read_row(truth), answer)
            if label is not None and answer.label is not None:
                cell = label, answer.label
                counts[cell] = counts.get(cell, 0) + 1
        return cls(counts)

    @classmethod
    def from_cells(cls, cells: Iterable[CellCount]) -> "ConfusionMatrix":
        """Make a matrix of the field ``confusion`` of a model's result."""
        return cls({(cell.actual, cell.predicted): cell.count for cell in cells})

    @property
    def total(self) -> int:
        """The number of items in all cells."""
        return sum(self._cells.values())

    @property
    def scores(self) -> ModelResult:
        """The scores of this matrix, as in a model's result: accuracy with its 95 % Wilson interval,
        scores by class, and their means over classes."""
        right = sum(n for cell, n in self._cells.items() if cell.actual == cell.predicted)
        counts = Counts(judged=self.total, correct=right, cells=dict(self._cells))
        return model_result(ModelKey("", "", "", ""), counts, "feedback")

    def to_frame(self) -> "pandas.DataFrame":
        """The counts as a pandas DataFrame: a row for each actual label, a column for each predicted
        label. `ProcessorError` if pandas is not installed."""
        pd = import_pandas()
        frame: pandas.DataFrame = pd.DataFrame(
            [list(row) for row in self.counts],
            index=pd.Index(self.labels, name="actual"),
            columns=pd.Index(self.labels, name="predicted"),
            dtype="int64",
        )
        return frame

    def __getitem__(self, cell: tuple[str, str]) -> int:
        """The number of items of a cell: ``matrix[actual, predicted]``."""
        return self._cells.get(Cell(*cell), 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfusionMatrix) and self._cells == other._cells

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ConfusionMatrix(labels={self.labels}, counts={self.counts})"


def import_pandas() -> "ModuleType":
    """Import pandas, which is an optional dependency; `ProcessorError` if it is not installed."""
    try:
        import pandas
    except ImportError:
        raise ProcessorError("a DataFrame needs pandas: pip install pandas") from None
    return pandas
