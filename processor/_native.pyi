"""The compiled part; `native` has its source, `processor/domain/native.py` uses it."""

from collections.abc import Callable, Sequence
from typing import Any

_Judged = tuple[list[int], float, list[tuple[int, int]]]
_Rows = tuple[int, bytes, int, bytes, list[Any], list[Any], list[Any]]
_Parts = tuple[bool, tuple[object, int], bytes, tuple[object, int] | None, bytes]
_Taken = tuple[int, int, int, int]

def expire(table: object, before: int) -> tuple[int, int]: ...

class DeltaAccumulator:
    def __new__(cls) -> DeltaAccumulator: ...
    def predicted(self, model: int, minute: int, items: int) -> None: ...
    def judged(
        self, model: int, predicted_at: int, feedback_at: int, outcome: int, times: int
    ) -> bool: ...
    def outcome(
        self, totals: tuple[int, ...], cells: list[tuple[str, str, int]], diagnostics: bool
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
        native: DeltaAccumulator,
        outcome_of_pair: Callable[[int, int], int],
        outcome_of_completed: Callable[[int, int | None, int | None], int],
        prediction_id: Callable[[int, int, int, int, bool], int | None],
        feedback_id: Callable[[int, int, int, int | None, int | None], int | None],
        deployment_of: list[int],
        bounds: Sequence[float],
        most_bytes: int,
        full: int,
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
    ) -> tuple[bytes | None, _Judged]: ...
    def apply_completed(
        self,
        predictions: bytes,
        feedbacks: bytes,
        models: list[int],
        answers: list[int],
        truths: list[int],
        prefixes: list[bytes],
    ) -> tuple[bytes | None, bytes | None, _Judged, int | None, int]: ...

class Reader:
    def __new__(
        cls,
        partitions: int,
        most: int,
        most_bytes: int,
        full: Callable[[int, _Rows], None],
        as_of: int | None = None,
    ) -> Reader: ...
    def decode_batch(
        self, batch: bytes, start: int
    ) -> tuple[
        list[tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes]]]], int, _Taken
    ]: ...
    def decode_lines(self, block: bytes) -> tuple[list[tuple[int, int, int]], int, _Taken]: ...
    def decode_documents(
        self, documents: list[tuple[str, bytes]], before: int, since: int
    ) -> tuple[list[int], _Taken]: ...
    def add_document_template(
        self, id: str, text: bytes, prediction: _Parts, feedback: _Parts | None
    ) -> None: ...
    def add_record_template(
        self,
        headers: list[tuple[str, bytes]],
        value: bytes | None,
        parts: _Parts,
    ) -> None: ...
    def add_line_template(self, text: bytes, parts: _Parts) -> None: ...
    def flush_rows(self, partition: int, keep_dictionaries: bool) -> _Rows: ...
    def invalidate(self) -> None: ...
