"""Types of the native extension, whose source is in `native`; see `processor/domain/native.py`."""

from collections.abc import Callable, Sequence
from typing import Any

from processor.domain.tally.bucket_counts import BucketCounts as PythonBucketCounts
from processor.domain.tally.bucket_counts import Changes

_JudgementSummary = tuple[list[int], int, list[tuple[int, int]]]
_FlushedRows = tuple[int, bytes, int, bytes, list[Any], list[Any], list[Any]]
_RowParts = tuple[object, int, int, bytes, bytes]
_TemplateParts = tuple[bool, tuple[object, int], bytes, bytes, Sequence[_RowParts], int | None, int]
_RowRules = tuple[float, int, bool, bool, str | None]
_Counts = tuple[int, int, int, int]

def expire(table: object, before: int) -> tuple[int, int]: ...
def add_deltas(deltas: bytes, texts: list[str], fresh: list[Changes], labels: Labels) -> None: ...

class Labels:
    def __new__(cls) -> Labels: ...

# Not in truth a subclass, but with the same methods.
class BucketCounts(PythonBucketCounts):
    def __new__(cls, labels: Labels) -> BucketCounts: ...

class DeltaAccumulator:
    def __new__(cls) -> DeltaAccumulator: ...
    def add_predictions(self, model: int, minute: int, items: int) -> None: ...
    def add_judgement(
        self, model: int, predicted_at: int, feedback_at: int, outcome: int, times: int
    ) -> bool: ...
    def add_valued_judgements(
        self, model: int, minute: int, plan: int, items: list[tuple[bytes, bytes]]
    ) -> list[tuple[int, int]]: ...
    def add_outcome(
        self,
        totals: tuple[int, ...],
        cells: list[tuple[str, str, int]],
        sums: list[tuple[int, str, int, int]],
        affects_diagnostics: bool,
    ) -> int: ...
    def set_tables(
        self, bin_edges: list[int], log_losses: list[int], error_edges: list[int]
    ) -> None: ...
    def add_labels_plan(self, outcome: int) -> int: ...
    def add_confidence_plan(self, outcome: int, right: bool) -> int: ...
    def add_probabilities_plan(
        self,
        outcome: int,
        names: list[str],
        own: list[bool],
        known: bool,
        top: int,
        right: bool,
    ) -> int: ...
    def add_numbers_plan(
        self,
        outcomes: list[int],
        unit: int,
        unit_label: str,
        tolerance: tuple[int, int] | None,
        truth: int | None,
    ) -> int: ...
    def drain(
        self, models: list[Any], targets: list[int]
    ) -> list[tuple[int, bytes, bytes, bytes]]: ...
    def clear(self) -> None: ...
    def clear_outcomes(self) -> None: ...

class FastPath:
    def __new__(
        cls,
        state: object,
        accumulator: DeltaAccumulator,
        plan_of_pair: Callable[[int, int], int | None],
        plan_of_completed: Callable[[int, int | None, int | None], int | None],
        prediction_id: Callable[[int, int, int, int, bool, int], int | None],
        feedback_id: Callable[[int, int, int, int | None, int | None, int], int | None],
        valued_answer: Callable[[int], tuple[int, int] | None],
        base_of_feedback: Callable[[int, int | None], int],
        deployment_of: list[int],
        bounds: Sequence[float],
        max_rows: int,
        rows_per_bucket: int,
    ) -> FastPath: ...
    def apply_predictions(
        self, rows: bytes, models: list[int], answers: list[int]
    ) -> tuple[bytes | None, int]: ...
    def apply_feedback(
        self,
        rows: bytes,
        models: list[int],
        truths: list[int],
        judged: dict[tuple[int, str], int] | None,
        offset: int,
    ) -> tuple[bytes | None, _JudgementSummary]: ...
    def apply_completed(
        self,
        predictions: bytes,
        feedbacks: bytes,
        models: list[int],
        answers: list[int],
        truths: list[int],
        prefixes: list[bytes],
    ) -> tuple[bytes | None, bytes | None, _JudgementSummary, int | None, int]: ...

class Reader:
    def __new__(
        cls,
        partitions: int,
        max_rows: int,
        max_dictionary_bytes: int,
        on_full: Callable[[int, _FlushedRows], None],
        as_of: int | None = None,
    ) -> Reader: ...
    def decode_batch(
        self, batch: bytes, start: int
    ) -> tuple[
        list[tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes]]]], int, _Counts
    ]: ...
    def decode_lines(self, block: bytes) -> tuple[list[tuple[int, int, int]], int, _Counts]: ...
    def decode_documents(
        self, documents: list[tuple[str, bytes]], before: int, since: int
    ) -> tuple[list[int], _Counts]: ...
    def read_document(self, id: str, text: bytes, rules: _RowRules) -> bool: ...
    def read_record(
        self, headers: list[tuple[str, bytes]], value: bytes | None, rules: _RowRules
    ) -> bool: ...
    def read_line(self, text: bytes, rules: _RowRules) -> bool: ...
    def add_template(self, parts: _TemplateParts) -> None: ...
    def add_document_template(
        self, prediction: _TemplateParts, feedback: _TemplateParts | None
    ) -> None: ...
    def flush_rows(self, partition: int, keep_dictionaries: bool) -> _FlushedRows: ...
    def invalidate(self) -> None: ...
