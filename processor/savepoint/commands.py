"""Save, load and show a savepoint, with Kafka or embedded: the commands ``processor savepoint``."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import BinaryIO

from processor.errors import SavepointError
from processor.kafka.clients import FAULTS, Kafka
from processor.models_file import read_models_file
from processor.replay.progress import CommandProgress
from processor.savepoint.embedded_sink import opened_embedded
from processor.savepoint.embedded_source import EmbeddedState
from processor.savepoint.file import SavepointReader, SavepointWriter
from processor.savepoint.kafka_sink import opened
from processor.savepoint.kafka_source import KafkaState
from processor.savepoint.summary import Summary
from processor.savepoint.transfer import checked, load, save
from processor.settings import Settings
from processor.stream.snapshot_file import sync_folder

#: The path that stands for standard output or input.
STANDARD = "-"
#: Errors that a write to a file raises, without its name.
_OF_DISKS = (ENOSPC, EDQUOT, EFBIG, EIO)


async def save_savepoint(settings: Settings, path: str) -> Summary:
    """Write the state of the app of the settings to a file. An existing file is replaced once the new
    one is complete. `ProcessorError` if it can't be read or written."""
    rules = read_models_file(settings.models, settings.custom_statistics)
    kafka = Kafka(settings, settings.broker)
    source = EmbeddedState(settings, rules) if settings.embedded else KafkaState(settings, kafka)
    started = time.monotonic()
    try:
        await source.measure()
        with (
            written(path) as file,
            CommandProgress("save", source.total, unit="requests") as bar,
        ):
            writer = SavepointWriter(file)
            end = await save(source, writer, lambda requests: bar.update(source.read, requests))
    except FAULTS as error:
        if settings.embedded:
            raise
        raise await kafka.explain(error) from None
    return Summary.of(source.header, end, writer.bytes, time.monotonic() - started)


async def load_savepoint(settings: Settings, path: str, without_source: bool) -> Summary:
    """Load a file into the new app of the settings. A file, unlike standard input, is read to its end
    before anything is sent. `ProcessorError` if it is damaged or the app can't take it."""
    rules = read_models_file(settings.models, settings.custom_statistics)
    kafka = Kafka(settings, settings.broker)
    started, total = time.monotonic(), None
    if path != STANDARD:
        with _open(path) as file:
            end, _ = checked(SavepointReader(file, path))
            total = end.requests
    try:
        with _open(path) as file, CommandProgress("load", total, unit="requests") as bar:
            reader = SavepointReader(file, _name(path))
            header = reader.header
            if without_source:
                header.sources = []
            new = (
                opened_embedded(settings, rules)
                if settings.embedded
                else opened(settings, kafka, header)
            )
            async with new as app:
                end = await load(reader, app, lambda requests: bar.update(requests, requests))
    except FAULTS as error:
        if settings.embedded:
            raise
        raise await kafka.explain(error) from None
    return Summary.of(header, end, reader.bytes, time.monotonic() - started)


def show_savepoint(path: str) -> Summary:
    """Read a file to its end. `SavepointError` if it is damaged."""
    with _open(path) as file:
        reader = SavepointReader(file, _name(path))
        end, buckets = checked(reader)
    summary = Summary.of(reader.header, end, reader.bytes)
    summary.buckets = buckets
    return summary


def _name(path: str) -> str:
    return "standard input" if path == STANDARD else path


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115  # an error of the block is not one of opening
    except OSError as error:
        raise SavepointError(f"{path} can't be read: {error.strerror}: check the path") from None
    with file:
        yield file


@contextlib.contextmanager
def written(path: str) -> Iterator[BinaryIO]:
    """A file that replaces the one at ``path`` durably when the block ends without an error."""
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{path}.part")
    try:
        with _locked(part) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
                sync_folder(part.parent)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.filename != str(part) and error.errno not in _OF_DISKS:
            raise  # of the broker
        raise SavepointError(
            f"{path} can't be written: {error.strerror}: check the folder and its space"
        ) from None


def _locked(part: Path) -> BinaryIO:
    """An empty file that no other process writes; what a killed one left behind is taken over."""
    while True:
        file = part.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have given it its final name meanwhile.
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
                file.truncate(0)
                return file
        except BlockingIOError:
            file.close()
            raise SavepointError(
                f"{part} is being written by another save: wait for its end, or give another path"
            ) from None
        except OSError as error:
            file.close()
            error.filename = str(part)
            raise
        file.close()
