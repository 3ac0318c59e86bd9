"""Check that names and sizes keep to the rules of CONTRIBUTING.md.

Six checks over the files that git knows or would add:

- no name of `NAMES` or `CLASSES` in Python or Rust, no file called as in `FILES`;
- no folder with more than `MAX_FILES` files;
- no Python file under `processor/` with more than `MAX_LINES` lines;
- no function under `processor/` with more than `MAX_FUNCTION_LINES` lines;
- no docstring under `processor/` that begins with a word of `VAGUE`;
- no import from a test module.

Prints one line per finding, as `path:line: what is wrong; what to do`, and exits with 1 if there is any.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_FILES = 17
MAX_LINES = 400
MAX_FUNCTION_LINES = 70

#: Folders whose number of files is not limited: recorded payloads, pictures, and decisions, which stay.
UNLIMITED = ("tests/data/", "docs/img/", "docs/decisions/")

#: Files that hold the names themselves.
EXEMPT = (".ci/words.py", "tests/ci/test_words.py")

#: Regular expressions of names that must not return, each with the name to use.
NAMES = (
    (r"UsualEvents|read_usual", "FastDecoder"),
    (r"Meanings", "Templates"),
    (r"learn_record", "add_template"),
    (r"take_(?:batch|lines|documents)", "decode_batch, decode_lines, decode_documents"),
    (r"said_at", "feedback_at"),
    (r"said_numbers", "feedback_ids"),
    (r"made_at", "predicted_at"),
    (r"made_numbers", "prediction_ids"),
    (r"LetterTopic", "DeadLetterTopic"),
    (r"ArchiveLetters", "ArchivedDeadLetters"),
    (r"KeptLetter", "RecentDeadLetter"),
    (r"FOR_EVER", "MAX_TIME_NS"),
    (r"AS_THEY_ARE", "IngestMode.NORMAL"),
    (r"KNOWN_ONLY", "IngestMode.IF_PRESENT"),
    (r"TOO_LATE", "IngestMode.EXPIRED"),
    (r"PackedBatch", "ObservationBatch"),
    (r"keep_tables", "keep_dictionaries"),
    (r"forget_before", "evict_before"),
    (r"ShortWay", "FastPath"),
    (r"CompiledWay", "NativeFastPath"),
    (r"CompiledContributions", "NativeDeltaAccumulator"),
    (r"Registers", "RequestUpdater"),
    (r"Standings", "OutcomeResolver"),
    (r"RequestPlace", "RequestRef"),
    (r"settled_(?:to|at)", "completed_until, completed_hour"),
    (r"is_gauged", "affects_diagnostics"),
    (r"WholeBatch(?:es)?", "RecordBatch"),
    (r"LogDoor", "KafkaSink"),
    (r"ArchiveDoor", "ArchiveSink"),
    (r"LateTruth", "LateFeedbackLookup"),
    (r"SideWork", "RetryLoop"),
    (r"ArchiveFeed", "ArchivePublisher"),
    (r"BrokerRoom", "BrokerMemoryGuard"),
    (r"FullError", "CapacityError"),
    (r"CappedBoard", "LimitedCounts"),
)

#: Words that are names only where a class, struct, enum or trait is called so.
CLASSES = {
    "Board": "CountsSource",
    "Changes": "DeltaAccumulator",
    "Copies": "CopyOnWrite",
    "Course": "ModelTimeline",
    "Courses": "ModelTimelines",
    "Crew": "WorkerCluster",
    "Deal": "BootstrapPolicy",
    "Door": "EventSink",
    "Draft": "SnapshotWriter",
    "Form": "BodyFormat",
    "Ledger": "DeltaAccumulator",
    "Letter": "DeadLetterRecord",
    "Made": "PredictionContent",
    "Origin": "SourceOffset",
    "Packer": "ObservationProducer",
    "Piece": "RecordChunk",
    "Pieces": "ChunkAssembler",
    "Place": "PartitionPosition",
    "Said": "FeedbackContent, or Decoded",
    "Sender": "DeltaProducer",
    "Shelf": "what the harness starts",
    "Standing": "JoinedPrediction",
    "Trial": "RetryProducer",
}

#: Names of modules that must not return.
FILES = {
    "cap": "cardinality",
    "compaction": "vacuum",
    "contributions": "delta_accumulator",
    "crew": "cluster",
    "door": "sink",
    "frozen": "log_format_fixture",
    "gzipped": "compression",
    "header_names": "a part of kafka/patches",
    "joining": "join_model",
    "letters": "dead_letters",
    "memory_cap": "eviction",
    "pace": "cooperative, or rate_limit",
    "packer": "observation_producer",
    "pieces": "chunking",
    "registers": "request_updater",
    "room": "memory_guard",
    "shelves": "archive_harness",
    "short_way": "fast_path",
    "side_work": "retry_loop",
    "snapshot_maker": "snapshotter",
    "standings": "outcome_resolver",
    "tallying": "tally_model",
    "usual": "fast_decoder",
    "usual_documents": "fast_documents",
    "whole_batches": "a part of kafka/patches",
}

#: First words that leave a docstring without a subject when it is read in a tooltip.
VAGUE = ("As", "Of", "That", "Those", "What", "Whoever")

_NAME = re.compile(rf"\b(?:{'|'.join(f'({pattern})' for pattern, _ in NAMES)})\b")
_CLASS = re.compile(rf"\b(?:class|struct|enum|trait) ({'|'.join(CLASSES)})\b")
_TEST_MODULE = re.compile(r"(?:from|import) tests\.(?:\w+\.)*test_\w+\b")
_VAGUE = re.compile(rf"(?:{'|'.join(VAGUE)})\b")


def coined_names(path: str, text: str) -> Iterator[str]:
    """Yield a finding for each coined name in a Python or Rust file, its own name included."""
    if better := FILES.get(Path(path).stem):
        yield f"{path}:1: the file's name is a coined one; call it {better}"
    for number, line in enumerate(text.splitlines(), start=1):
        for found in _NAME.finditer(line):
            better = NAMES[(found.lastindex or 1) - 1][1]
            yield f"{path}:{number}: {found[0]} is a coined name; use {better}"
        for found in _CLASS.finditer(line):
            yield f"{path}:{number}: {found[1]} says too little; use {CLASSES[found[1]]}"


def full_folders(paths: Sequence[str]) -> Iterator[str]:
    """Yield a finding for each folder that directly holds too many of the files."""
    for folder, count in sorted(Counter(str(Path(path).parent) for path in paths).items()):
        if count > MAX_FILES and not f"{folder}/".startswith(UNLIMITED):
            yield f"{folder}/: {count} files, at most {MAX_FILES}; split it by subject"


def long_code(path: str, text: str) -> Iterator[str]:
    """Yield a finding for a Python file, and for each function in it, that is too long."""
    count = len(text.splitlines())
    if count > MAX_LINES:
        yield f"{path}:1: {count} lines, at most {MAX_LINES}; split it by subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > MAX_FUNCTION_LINES:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {count} lines, "
                    f"at most {MAX_FUNCTION_LINES}; split it"
                )


def vague_docstrings(path: str, text: str) -> Iterator[str]:
    """Yield a finding for each docstring of a Python file that begins with a word of `VAGUE`."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and _VAGUE.match(ast.get_docstring(node) or ""):
            line = node.body[0].lineno
            yield f"{path}:{line}: the docstring has no subject; begin with a noun or a verb"


def imported_tests(path: str, text: str) -> Iterator[str]:
    """Yield a finding for each line of a Python file that imports from a test module."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _TEST_MODULE.match(line):
            yield f"{path}:{number}: imports from a test module; move what is shared to tests/support"


def findings(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the findings over these paths (relative to the root, with forward slashes)."""
    found = list(full_folders(paths))
    for path in paths:
        if not path.endswith((".py", ".rs")) or path in EXEMPT:
            continue
        text = (root / path).read_text(encoding="utf-8")
        found += coined_names(path, text)
        found += imported_tests(path, text)
        if path.startswith("processor/") and path.endswith(".py"):
            found += long_code(path, text)
            found += vague_docstrings(path, text)
    return found


def known_files(root: Path) -> list[str]:
    """Return the files that git tracks or would add, and that exist."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted({path for path in listed.split("\0") if path and (root / path).is_file()})


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    found = findings(root, known_files(root))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(f"{len(found)} findings; the rules are in CONTRIBUTING.md", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
