"""Where the copies of snapshots are: a folder that the workers share, or an S3 bucket."""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from processor.errors import SettingsError
from processor.stream.snapshot_file import sync_folder

#: Bytes that are read at a time, and the bytes of a part of an upload: S3 takes 10,000 parts.
_BLOCK, _PART = 8 << 20, 16 << 20
#: The suffix of a file while it is being copied, and the age (s) at which it was left by a process that
#: was killed.
_UNFINISHED, _ABANDONED = ".new", 86_400.0


class StoreError(OSError):
    """The store can't be reached, or refuses; it is tried again."""


class Store(Protocol):
    """A store of named objects, which appear whole or not at all. Its methods raise `OSError`, and
    may wait for long."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects of a folder with their sizes; none if there is no such folder."""
        ...

    def put(self, key: str, content: Iterator[bytes]) -> None:
        """Write an object part by part."""
        ...

    def read(self, key: str, size: int) -> Iterator[bytes]:
        """Read an object part by part; `FileNotFoundError` if it is gone."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; some may be gone already."""
        ...


def open_store(url: str) -> Store:
    """The store that PROCESSOR_SNAPSHOTS names. It is not asked anything yet."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    try:
        return BucketStore(parts.netloc, parts.path.strip("/"))
    except ImportError:
        raise SettingsError(
            f"PROCESSOR_SNAPSHOTS={url!r} needs the package obstore",
            "install feedback-metrics-processor[snapshots], or use file:///folder",
        ) from None


class FolderStore:
    """A folder, such as a volume that all workers mount. It must exist: a volume that is not mounted
    must not be taken for an empty one."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Store`."""
        self._check()
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed by another worker meanwhile
                    found[entry.name] = entry.stat().st_size
        return found

    def put(self, key: str, content: Iterator[bytes]) -> None:
        """See `Store`."""
        self._check()
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        handle, name = tempfile.mkstemp(_UNFINISHED, f"{path.stem}.", path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        sync_folder(path.parent)

    def read(self, key: str, size: int) -> Iterator[bytes]:
        """See `Store`."""
        with (self._root / key).open("rb") as file:
            while block := file.read(_BLOCK):
                yield block

    def remove(self, keys: Sequence[str]) -> None:
        """See `Store`."""
        for key in keys:
            (self._root / key).unlink(missing_ok=True)

    def _check(self) -> None:
        if not self._root.is_dir():
            raise StoreError(f"there is no folder {self._root}")


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f"*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


class BucketStore:
    """A bucket of S3, or of a server with the same interface. The address and the credentials are those
    of the usual variables AWS_*."""

    def __init__(self, bucket: str, prefix: str) -> None:
        from obstore.store import S3Store

        # Short, since an opening partition waits: the log has the same.
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "timeout": "30s",
                "connect_timeout": "5s",
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "on"),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Store`."""
        import obstore

        with _told_shortly():
            found = obstore.list(self._store, f"{folder}/").collect()
        return {one["path"].rpartition("/")[2]: one["size"] for one in found}

    def put(self, key: str, content: Iterator[bytes]) -> None:
        """See `Store`."""
        import obstore

        with _told_shortly():
            obstore.put(
                self._store,
                key,
                content,
                use_multipart=True,
                chunk_size=_PART,
                max_concurrency=2,
            )

    def read(self, key: str, size: int) -> Iterator[bytes]:
        """See `Store`."""
        import obstore

        # Block by block: a request has a timeout, and a large object takes long.
        for start in range(0, size, _BLOCK):
            with _told_shortly():
                block = obstore.get_range(
                    self._store, key, start=start, end=min(size, start + _BLOCK)
                )
            yield bytes(block)

    def remove(self, keys: Sequence[str]) -> None:
        """See `Store`."""
        import obstore

        with _told_shortly():
            obstore.delete(self._store, keys)


@contextlib.contextmanager
def _told_shortly() -> Iterator[None]:
    """Turn the library's errors, which are pages long, into a line."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (FileNotFoundError, BaseError) as error:
        line = next(iter(str(error).splitlines()), "")
        # What differs between two tries would be told as a change each time.
        line = re.sub(
            r"( in [0-9.]+[mµn]?s| after [0-9]+ retries.*?(?= - )|:? *<[?a-zA-Z].*)", "", line
        )
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(line[:300]) from None
        raise StoreError(line[:300]) from None
