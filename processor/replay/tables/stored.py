"""Tables by columns: Parquet files and pandas DataFrames."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from processor.errors import EventsFileError, ProcessorError
from processor.replay.tables.cells import Nanoseconds, plain
from processor.replay.tables.columns import Chosen
from processor.replay.tables.rows import Row

if TYPE_CHECKING:
    import pandas
    import pyarrow

_PARQUET = (".parquet", ".pq")
_MAGIC = b"PAR1"
#: Rows that are made of columns at once.
_CHUNK = 20_000


def is_parquet(path: str) -> bool:
    """Whether a source is a Parquet file, by its name or its first bytes."""
    if path.lower().endswith(_PARQUET):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False  # whoever reads it says what is wrong


class ParquetTable:
    """A Parquet file, read a batch of rows at a time. `ProcessorError` without pyarrow,
    `EventsFileError` for a file that can't be read."""

    value = staticmethod(plain)

    def __init__(self, path: str) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise ProcessorError(
                f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow"
            ) from None
        self.name = path
        self.consumed = 0
        self._faults = (pyarrow.ArrowException, OSError)
        try:
            self._file = parquet.ParquetFile(path)
        except self._faults as error:
            raise self._unreadable(error) from None
        self.size: int = self._file.metadata.num_rows
        self.names: list[str] = self._file.schema_arrow.names

    def rows(self, chosen: Chosen) -> Iterator[Row]:
        """See `Table`."""
        wanted = list(dict.fromkeys(name for name in chosen.used if name is not None))
        try:
            for batch in self._file.iter_batches(_CHUNK, columns=wanted):
                columns = {name: _arrow_cells(batch.column(name)) for name in wanted}
                yield from _rows(columns, chosen, self.consumed, batch.num_rows)
                self.consumed += batch.num_rows
        except self._faults as error:
            raise self._unreadable(error) from None

    def line(self, cells: Sequence[str]) -> str:
        """See `Table`."""
        return str(dict(zip(self.names, cells, strict=True)))

    def _unreadable(self, error: Exception) -> EventsFileError:
        if isinstance(error, FileNotFoundError):
            return EventsFileError(f"there is no file {self.name}: check the path")
        what = " ".join(str(error).split())
        return EventsFileError(f"{self.name} can't be read as Parquet: {what}")


class FrameTable:
    """A pandas DataFrame."""

    value = staticmethod(plain)

    def __init__(self, frame: "pandas.DataFrame") -> None:
        self.name = "the DataFrame"
        self.consumed = 0
        self.size = len(frame)
        self._frame = frame
        self.names = [str(name) for name in frame.columns]

    def rows(self, chosen: Chosen) -> Iterator[Row]:
        """See `Table`."""
        places = {name: self.names.index(name) for name in chosen.used if name is not None}
        while self.consumed < self.size:
            part = self._frame.iloc[self.consumed : self.consumed + _CHUNK]
            columns = {name: _series_cells(part.iloc[:, at]) for name, at in places.items()}
            yield from _rows(columns, chosen, self.consumed, len(part))
            self.consumed += len(part)

    def line(self, cells: Sequence[str]) -> str:
        """See `Table`."""
        return str(dict(zip(self.names, cells, strict=True)))


def _rows(
    columns: dict[str, Sequence[Any]], chosen: Chosen, first: int, size: int
) -> Iterator[Row]:
    gap = [None] * size
    used = [gap if name is None else columns[name] for name in chosen.used]
    yield from enumerate(zip(*used, strict=True), first + 1)


def _arrow_cells(column: "pyarrow.Array") -> Sequence[Any]:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        # Without pandas pyarrow makes no Python object of nanoseconds.
        exact = column.cast(pyarrow.timestamp("ns", column.type.tz)).cast(pyarrow.int64())
        return [None if time is None else Nanoseconds(time) for time in exact.to_pylist()]
    cells: list[Any] = column.to_pylist()
    return cells


def _series_cells(series: "pandas.Series[Any]") -> Sequence[Any]:
    if series.dtype.kind == "M":
        if getattr(series.dtype, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        times = series.astype("datetime64[ns]").astype("int64").tolist()
        gaps = series.isna().tolist()
        return [None if gap else Nanoseconds(time) for time, gap in zip(times, gaps, strict=True)]
    return series.astype(object).where(series.notna(), None).tolist()
