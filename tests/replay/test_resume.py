"""A long replay of Elasticsearch that is interrupted, and resumed with its journal."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

import processor.archive.elasticsearch.archive as archive_module
from processor.archive.elasticsearch.archive import PAGE, ElasticsearchArchive, Page, Shard
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.log.observations import BatchBuilder
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.results import Replay
from processor.errors import ArchiveError, ProcessorError, SettingsError
from processor.replay.elasticsearch_source import Resume
from processor.replay.fold import FoldedDocuments, ReplayFold
from processor.replay.journal import Entry, Journal, JournalHeader
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings
from tests.conftest import elastic_of
from tests.support.faults.documents import DOCUMENTS, SHARDS, TRUTH, document, load_documents
from tests.support.servers.elasticsearch import VERSIONS
from tests.support.servers.indices import Indices, stored
from tests.support.servers.proxy import Proxy

HEADER = JournalHeader.of("http://here:9200", "inference-log-*", None, ModelRules())


def entry(position: int, read: int = 3) -> Entry:
    batch = BatchBuilder().build("")
    return Entry(
        "log", "uuid", 0, position, FoldedDocuments(read, batch, [(b"r1", None)], 1, {"no_id": 2})
    )


packed = msgspec.msgpack.encode


def kept(path: Path, header: JournalHeader = HEADER) -> list[Entry]:
    """The entries of the file, which is kept."""
    journal = Journal(path)
    found = list(journal.entries(header))
    journal.__exit__(InterruptedError, InterruptedError(), None)
    return found


def interrupted(path: Path, *entries: Entry) -> None:
    with suppress(ArchiveError), Journal(path) as journal:
        list(journal.entries(HEADER))
        for each in entries:
            journal.add(each)
        raise ArchiveError("away")


def test_what_was_read_is_kept_until_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "part"
    interrupted(path, entry(7), entry(20))
    assert f"is kept in {path}: run the same command to continue" in capsys.readouterr().err
    interrupted(path, entry(31))
    assert packed(kept(path)) == packed([entry(7), entry(20), entry(31)])
    with Journal(path) as journal:
        assert [each.position for each in journal.entries(HEADER)] == [7, 20, 31]
        assert journal.positions == {("uuid", 0): 31}
        with pytest.raises(SettingsError, match="log, which was deleted or made anew"):
            journal.check_indices({"another"})
        journal.check_indices({"another", "uuid"})
        with pytest.raises(ProcessorError, match="in use by another process"):
            Journal(path)
    assert not path.exists()


def test_what_a_kill_cut_off_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "part"
    interrupted(path, entry(7))
    one = path.stat().st_size
    interrupted(path, entry(20))
    whole = path.read_bytes()
    for end in range(one, len(whole)):
        path.write_bytes(whole[:end])
        assert kept(path) == [entry(7)]
        assert path.stat().st_size == one
    damaged = bytearray(whole)
    damaged[one + 20] ^= 1
    path.write_bytes(damaged)
    interrupted(path, entry(21))
    assert kept(path) == [entry(7), entry(21)]


def test_a_file_of_another_replay_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "part"
    interrupted(path, entry(7))
    content = path.read_bytes()
    rules = ModelRules([Rule("a/b", threshold=0.4)])
    here = "http://here:9200"
    for header, named in (
        (
            JournalHeader.of("http://there:9200", "inference-log-*", None, ModelRules()),
            "Elasticsearch was",
        ),
        (JournalHeader.of(here, "other-*", None, ModelRules()), "--index was inference-log"),
        (JournalHeader.of(here, "inference-log-*", 1, ModelRules()), "--as-of was none"),
        (JournalHeader.of(here, "inference-log-*", None, rules), "models file differs"),
        (msgspec.structs.replace(HEADER, version="9"), "the processor's version was"),
    ):
        with pytest.raises(SettingsError, match=named):
            kept(path, header)
        assert path.read_bytes() == content
    for foreign in (b'{"headers": {}}\n', b"processor-replay\n", content[:30]):
        path.write_bytes(foreign)
        with pytest.raises(SettingsError, match="not a file that --resume has made"):
            kept(path)
        assert path.read_bytes() == foreign
    with pytest.raises(ProcessorError, match="can't be used: Is a directory"):
        Journal(tmp_path)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Passing(Proxy):
    """Stalls once ``path`` has so many bytes; ``seen`` is all that it passed on of the server's."""

    def __init__(self, target: tuple[str, int], path: Path, limit: int) -> None:
        super().__init__(target)
        self.limit: int | None = limit
        self.seen: list[bytearray] = []
        self._path = path

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = bytearray()
        self.seen.append(mine)
        while data := await reader.read(1 << 16):
            await self._flows.wait()
            mine += data
            writer.write(data)
            await writer.drain()
            if self.limit is not None and size_of(self._path) >= self.limit:
                self.stall()
        raise ConnectionResetError

    def documents(self) -> int:
        return sum(len(re.findall(rb'"_id":"', each)) for each in self.seen)


@pytest.fixture(scope="module")
def many() -> tuple[str, str]:
    """The address of a server, and an index with many documents."""
    url = elastic_of(VERSIONS[0]).url
    return url, asyncio.run(load_documents(url))


#: The command; its orderly end after Ctrl-C may take longer than three seconds on a busy machine.
_COMMAND = (
    "from processor.cli import main, options; "
    "assert options._ORDERLY_END; options._ORDERLY_END = 60.0; main.main()"
)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COMMAND, "replay", *arguments, stdout=pipe, stderr=pipe
    )


async def result(*arguments: str) -> tuple[dict[str, Any], str]:
    """The JSON and the stderr of a replay that succeeds."""
    process = await start(*arguments)
    out, stderr = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(out)
    return found, stderr.decode()


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_process_that_is_ended_goes_on(
    many: tuple[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    url, index = many
    path = tmp_path / "replay.part"
    port = int(url.rpartition(":")[2])
    async with Passing(("127.0.0.1", port), path, limit=200_000) as proxy:
        arguments = (f"http://127.0.0.1:{proxy.port}", "--index", index, "--resume", str(path))
        process = await start(*arguments)
        try:
            async with asyncio.timeout(100):
                while size_of(path) < 200_000:
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
        finally:
            process.send_signal(number)
            _, stderr = await process.communicate()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert f"is kept in {path}: run the same command to continue" in stderr.decode()
            assert "Traceback" not in stderr.decode()
        await proxy.cut()
        proxy.limit = None
        await proxy.resume()
        resumed, message = await result(*arguments)
        # The last requests find nothing new.
        twice = proxy.documents() - DOCUMENTS
    restored = re.search(r"continues after ([\d,]+) documents", message)
    assert restored is not None
    assert 0 < int(restored[1].replace(",", "")) < DOCUMENTS
    whole, _ = await result(url, "--index", index)
    assert resumed == whole
    (model,) = resumed["models"]
    assert (model["predictions"], model["judged"], model["correct"]) == TRUTH
    assert resumed["events"]["read"] == DOCUMENTS
    # For each shard: the page that was not folded yet, and the one that was read ahead.
    assert 0 <= twice <= SHARDS * 2 * PAGE
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_breaks_off_leaves_nothing_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [
        [
            Document("log", f"request-{n}", n, msgspec.json.encode(document(n, 1_800_000_000)))
            for n in range(start, start + 50)
        ]
        for start in (0, 50, 100)
    ]
    shard = Shard("log", "uuid", 0, 150, 150)

    def fold_with(journal: Journal) -> tuple[ReplayFold, Resume]:
        fold = ReplayFold(ModelRules(), Selection())
        resume = Resume(journal, fold, ModelRules())
        for each in journal.entries(HEADER):
            fold.restore(each.folded)
        return fold, resume

    path = tmp_path / "part"
    # The first page is interrupted in its middle; the next one arrives before the error is handled.
    odd = pages[1][30] = msgspec.structs.replace(pages[1][30], source=b"{}")
    read = DocumentReader.read

    def interrupted_read(self: DocumentReader, one: Document) -> Any:
        if one is odd:
            raise KeyboardInterrupt
        return read(self, one)

    with suppress(ArchiveError), monkeypatch.context() as patched, Journal(path) as journal:
        patched.setattr(DocumentReader, "read", interrupted_read)
        _, resume = fold_with(journal)
        resume.add(shard, pages[0], 50)
        with pytest.raises(KeyboardInterrupt):
            resume.add(shard, pages[1], 100)
        with pytest.raises(asyncio.CancelledError):
            resume.add(shard, pages[2], 150)
        raise ArchiveError("away")
    with Journal(path) as journal:
        fold, resume = fold_with(journal)
        assert journal.positions == {("uuid", 0): 50}
        for page, position in (pages[1], 100), (pages[2], 150):
            resume.add(shard, page, position)
    assert fold.result().events.read == 150
    assert fold.result().events.duplicates == 0


async def replayed(indices: Indices, path: Path | None = None) -> Replay:
    access = Access(Settings.from_env({}), indices.pattern)
    if path is None:
        fold = await fold_sources([indices.url], ModelRules(), Selection(), access)
    else:
        with Journal(path) as journal:
            fold = await fold_sources([indices.url], ModelRules(), Selection(), access, journal)
    return fold.result()


@pytest.mark.integration
async def test_what_changes_while_it_is_read_counts_once(
    indices: Indices, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = indices.make("experiment", shards=2)
    indices.add(index, stored())
    names = [document["_id"] for document in stored()]
    changed: list[str] = []

    class Changing(ElasticsearchArchive):
        async def pages(  # type: ignore[override]
            self, shard: Shard, after: int = -1, ahead: int = 1
        ) -> AsyncGenerator[Page, None]:
            async for page in super().pages(shard, after, size=7, ahead=ahead):
                if not changed:
                    # Documents that were read, and documents that are still to be read.
                    changed.extend(names)
                    for name in names:
                        indices.merge(index, name, {"ServingEngine": "seldon-2"})
                    indices.client.indices.refresh(index=index)
                yield page

    whole = await replayed(indices)
    monkeypatch.setattr(archive_module, "ElasticsearchArchive", Changing)
    assert (await replayed(indices)).models == whole.models


@pytest.mark.integration
async def test_what_changes_before_it_goes_on_counts_once(
    indices: Indices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index = indices.make("experiment", shards=2)
    indices.add(index, stored())
    path = tmp_path / "part"
    read: list[str] = []

    class Interrupted(ElasticsearchArchive):
        async def pages(  # type: ignore[override]
            self, shard: Shard, after: int = -1, ahead: int = 1
        ) -> AsyncGenerator[Page, None]:
            async for page in super().pages(shard, after, size=7, ahead=ahead):
                yield page
                read.extend(document.id for document in page.documents)
                if len(read) > 30:
                    raise ArchiveError("away")

    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "ElasticsearchArchive", Interrupted)
        with pytest.raises(ArchiveError, match="away"):
            await replayed(indices, path)
    right = {"ce-time": "2026-11-21T10:00:00Z", "reward": 1}
    unread = [document["_id"] for document in stored() if document["_id"] not in read]
    for name in (*read[:5], *unread[:5]):
        indices.merge(index, name, {"feedback": right})
    indices.client.delete(index=index, id=unread[9])
    resumed = await replayed(indices, path)
    whole = await replayed(indices)
    assert resumed.models == whole.models
    assert resumed.events.read == 99 + 5
    assert not path.exists()
    # A recreated index with the same name is another index.
    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "ElasticsearchArchive", Interrupted)
        with pytest.raises(ArchiveError, match="away"):
            await replayed(indices, path)
    indices.client.indices.delete(index=index)
    indices.add(indices.make("experiment", shards=2), stored())
    with pytest.raises(SettingsError, match=f"{index}, which was deleted or made anew"):
        await replayed(indices, path)
    assert path.exists()


async def test_only_elasticsearch_is_resumed(tmp_path: Path) -> None:
    for arguments, why in (
        (["events.ndjson"], "--resume requires exactly one SOURCE in Elasticsearch"),
        (["http://a:9200", "http://b:9200"], "exactly one SOURCE"),
        (["http://a:9200", "--into", "kafka"], "--into kafka prints no numbers: leave "),
    ):
        process = await start(*arguments, "--resume", str(tmp_path / "part"))
        _, stderr = await process.communicate()
        assert process.returncode == 2
        assert why in stderr.decode()
    assert list(tmp_path.iterdir()) == []
