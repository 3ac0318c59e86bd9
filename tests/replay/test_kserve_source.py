"""Files of KServe's logger, with the fields of current and of older releases."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay
from processor.replay.kserve_source import read_folder, read_records
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings

RESPONSE = "org.kubeflow.serving.inference.response"


def body(label: str) -> bytes:
    return json.dumps({"data": {"ndarray": [label]}}).encode()


def record(name: str, kind: str, content: bytes, **fields: Any) -> dict[str, Any]:
    """A record as Go's encoder writes the current struct."""
    return {
        "url": {"Scheme": "s3", "Opaque": "", "User": None, "Host": "bucket", "Path": "/prefix"},
        "bytes": base64.b64encode(content).decode(),
        "contentType": "application/json",
        "reqType": kind,
        "id": name,
        "sourceUri": {"Scheme": "http", "Host": "localhost:9081"},
        "inferenceService": "iris",
        "namespace": "models",
        "component": "predictor",
        "endpoint": "default",
        "metadata": {"X-Forwarded-For": ["10.0.0.1"]},
        "annotations": {"team": "a"},
        "occurrenceTime": "2026-11-20T10:00:00.123456789+01:00",
        **fields,
    }


def older(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as older releases write it: with the names of Go's fields, without a time."""
    fields = {name[:1].upper() + name[1:]: value for name, value in record.items()}
    del fields["OccurrenceTime"]
    return {**fields, "CertName": "", "TlsSkipVerify": False}


def test_a_record_is_the_event_that_the_logger_would_have_sent() -> None:
    (event,) = read_records(json.dumps(record("id-1", RESPONSE, body("cat"))).encode(), 7)
    assert event == RawEvent(
        (
            ("ce_id", b"id-1"),
            ("ce_type", RESPONSE.encode()),
            ("ce_inferenceservicename", b"iris"),
            ("ce_namespace", b"models"),
            ("ce_component", b"predictor"),
            ("ce_endpoint", b"default"),
            ("content-type", b"application/json"),
            ("ce_time", b"2026-11-20T10:00:00.123456789+01:00"),
        ),
        body("cat"),
        7,
    )
    # A record without a time, or with Go's zero time, has the time of its file.
    timeless = record("id-1", RESPONSE, body("cat"), occurrenceTime="0001-01-01T00:00:00Z")
    for content in (timeless, older(timeless)):
        (found,) = read_records(json.dumps(content).encode(), 7)
        assert found == event._replace(headers=event.headers[:-1])
    (empty,) = read_records(
        json.dumps(older(record("i", RESPONSE, b"")) | {"Bytes": None}).encode(), 7
    )
    assert empty.value is None


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / "models" / "iris" / "predictor" / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


async def replayed(*sources: str | Path) -> Replay:
    access = Access(Settings.from_env({}))
    names = [str(source) for source in sources]
    return (await fold_sources(names, ModelRules(), Selection(), access)).result()


async def test_a_folder_and_its_feedback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bucket"
    request = "org.kubeflow.serving.inference.request"
    write(folder, "a-request.json", record("a", request, b'{"instances": [[1]]}'))
    write(folder, "a-response.json", record("a", RESPONSE, body("cat")))
    # A batch is named by one of its records, and holds both kinds.
    batch = [older(record(name, RESPONSE, body("dog"))) for name in ("b", "c")]
    at = 1_795_165_439
    path = write(folder, "b-response.json", [*batch, older(record("b", request, b"{}"))])
    os.utime(path, (at, at))
    write(folder, "empty-request.json", [])
    # A *.json file of another kind is a dead letter; other files are counted in a warning.
    write(folder, "broken-response.json", b'{"id": ')
    write(folder, "number-response.json", b"1")
    write(folder, "base64-response.json", record("x", RESPONSE, b"") | {"bytes": "?"})
    write(folder, "d-response.parquet", b"PAR1")
    feedback = tmp_path / "feedback.ndjson"
    headers = {
        "ce-type": "io.seldon.serving.feedback",
        "ce-inferenceservicename": "iris",
        "ce-namespace": "models",
        "ce-time": "2026-11-21T10:00:00Z",
    }
    feedback.write_text(
        "\n".join(
            json.dumps({"headers": headers | {"ce-requestid": name}, "data": {"reward": 1}})
            for name in ("a", "b")
        )
    )
    result = await replayed(f"kserve:{folder}", feedback)
    (model,) = result.models
    assert (model.namespace, model.deployment, model.predictor) == ("models", "iris", "default")
    assert (model.predictions, model.judged, model.correct) == (3, 2, 2)
    assert result.events.dead_letters == {"bad_json": 1, "bad_shape": 2}
    assert result.events.read == 5 + 3 + 2
    stderr = capsys.readouterr().err
    assert "broken-response.json is not a file of KServe's logger" in stderr
    assert "1 files were not read: only *.json are" in stderr
    selection = Selection(start=at * 10**9, end=at * 10**9 + 1)
    access = Access(Settings.from_env({}))
    early = (await fold_sources([f"kserve:{folder}"], ModelRules(), selection, access)).result()
    assert early.models[0].predictions == 2


def test_no_file_is_left_out(tmp_path: Path) -> None:
    for number in range(5):
        write(
            tmp_path, f"{number}/{number}-response.json", record(str(number), RESPONSE, body("x"))
        )
    found = [file for file in read_folder(tmp_path) if file and not isinstance(file, DeadLetter)]
    assert sorted(dict(event.headers)["ce_id"] for (event,) in found) == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
