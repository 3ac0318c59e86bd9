"""The HTTP ingress over real connections: the events that reach the sink, and the responses."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.ingress.http import make_ingress
from processor.models_file import read_models_file
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.domain.decoding import meaning
from tests.support.fake_sink import BATCH, BINARY, NOW, STRUCTURED, TIME, FakeSink, Start, error


async def test_binary_mode(start: Start, sink: FakeSink) -> None:
    client = await start()
    headers = BINARY | {
        "ce-subject": "Euro%20%E2%82%AC%2",
        "ce-quoted": '"a \\"b\\""',
        "Seldon-Puid": "puid%20",
        "Cookie": "secret",
        "Authorization": "secret",
    }
    answer = await client.post("/", data=b'{"reward": 1.50}', headers=headers)
    assert answer.status == 202
    assert await answer.json() == {"accepted": 1, "time": TIME}
    (event,) = sink.events
    assert dict(event.headers) == {
        "ce_id": b"1",
        "ce_type": b"io.seldon.serving.feedback",
        "ce_source": b"http://:8000/",
        "ce_specversion": b"1.0",
        "ce_subject": "Euro €%2".encode(),
        "ce_quoted": b'a "b"',
        "seldon-puid": b"puid%20",
        "content-type": b"application/json",
    }
    assert (event.value, event.timestamp) == (b'{"reward": 1.50}', NOW)


async def test_a_client_that_reads_bodies_as_events_gets_no_body(
    start: Start, sink: FakeSink
) -> None:
    """Knative treats a 202 with a body that is not a CloudEvent as a failed delivery."""
    client = await start()
    knative = BINARY | {"Prefer": "reply", "Kn-Namespace": "seldon"}
    answer = await client.post("/", data="{}", headers=knative)
    assert (answer.status, await answer.read()) == (202, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["Processor-Time"] == TIME
    await error(await client.post("/", data="bad", headers=knative), 400, "bad_json")
    assert len(sink.events) == 2


async def test_any_content_type_and_no_body(start: Start, sink: FakeSink) -> None:
    client = await start()
    headers = BINARY | {"Content-Type": "application/protobuf"}
    assert (await client.post("/", data=b"\x00\xff", headers=headers)).status == 202
    assert (await client.post("/", headers=BINARY)).status == 202
    assert [event.value for event in sink.events] == [b"\x00\xff", None]


async def test_structured_mode(start: Start, sink: FakeSink) -> None:
    client = await start()
    body = b'{"id": "1", "data": {"x": NaN}}'
    answer = await client.post("/", data=body, headers=STRUCTURED | {"ce-id": "other"})
    assert answer.status == 202
    content_type = STRUCTURED["Content-Type"].encode()
    assert sink.events == [RawEvent((("content-type", content_type),), body, NOW)]


@pytest.mark.parametrize("number", ["1.50", "NaN"])
async def test_a_batch_is_split(start: Start, sink: FakeSink, number: str) -> None:
    client = await start()
    first, second = f'{{"id":"1","data":{number}}}', '{"id": "2"}'
    answer = await client.post("/", data=f"[{first} , {second}]", headers=BATCH)
    assert answer.status == 202
    assert await answer.json() == {"accepted": 2, "time": TIME}
    headers = (("content-type", b"application/cloudevents+json"),)
    assert sink.events == [
        RawEvent(headers, first.encode(), NOW),
        RawEvent(headers, second.encode(), NOW),
    ]
    assert (await client.post("/", data="[]", headers=BATCH)).status == 202


async def test_a_batch_that_is_partly_rejected(start: Start, sink: FakeSink) -> None:
    client = await start()
    answer = await client.post("/", data='[1, "bad", 3]', headers=BATCH)
    assert answer.status == 202
    assert await answer.json() == {
        "accepted": 2,
        "time": TIME,
        "rejected": 1,
        "rejections": [{"index": 1, "reason": "bad_json", "detail": "it is bad"}],
    }
    answer = await client.post("/", data='["bad", "bad"]', headers=BATCH)
    assert await error(answer, 400, "bad_json") == "it is bad"
    assert (await answer.json())["rejected"] == 2


async def test_rejected_events_are_kept_and_get_400(start: Start, sink: FakeSink) -> None:
    client = await start()
    answer = await client.post("/", data="bad", headers=BINARY)
    assert await error(answer, 400, "bad_json") == "it is bad"
    for body in ('{"id": "1"}', "[1, ", "", "[NaN"):
        answer = await client.post("/", data=body, headers=BATCH)
        await error(answer, 400, "bad_json")
        kept = sink.events[-1]
        assert kept.value == (body.encode() or None)
        assert dict(kept.headers) == {"content-type": BATCH["Content-Type"].encode()}
    assert len(sink.events) == 5


@pytest.mark.parametrize(
    "kind",
    ["application/cloudevents", "application/cloudevents+xml", "application/cloudevents-batch"],
)
async def test_unsupported_formats_are_kept_and_get_415(
    start: Start, sink: FakeSink, kind: str
) -> None:
    client = await start()
    answer = await client.post("/", data="<x/>", headers={"Content-Type": f"{kind}; v=1"})
    assert "application/cloudevents+json" in await error(answer, 415, "not_cloudevent")
    assert (await answer.json())["rejected"] == 1
    assert sink.events == [RawEvent((("content-type", f"{kind}; v=1".encode()),), b"<x/>", NOW)]


@pytest.mark.parametrize("write", [to_binary_event, to_structured_event])
async def test_events_of_the_sdk_are_accepted(
    start: Start, sink: FakeSink, write: Callable[[CloudEvent], HTTPMessage]
) -> None:
    client = await start()
    attributes = {
        "id": "1",
        "source": "http://:8000/",
        "type": "io.seldon.serving.feedback",
        "specversion": "1.0",
        "time": datetime(2026, 11, 20, 9, 3, 59, 330716, UTC),
        "datacontenttype": "application/json",
        "requestid": "r1",
        "inferenceservicename": "café",
        "namespace": "seldon",
    }
    message = write(CloudEvent(attributes, {"reward": 1.5}))
    answer = await client.post("/", data=message.body, headers=message.headers)
    assert answer.status == 202, await answer.text()
    (event,) = sink.events
    (found,) = Decoder(read_models_file(None), Telemetry()).decode(*event).observations
    assert isinstance(found, Feedback)
    assert found.request_id == "r1"
    assert found.scope == ModelKey("seldon", "café", "", "")
    assert (found.time, found.reward) == (1795165439330716000, 1_500_000)


async def test_other_methods_and_paths(start: Start) -> None:
    client = await start()
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        for path in ("/", "/feedback"):
            answer = await client.request(method, path)
            await error(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == "POST"
    detail = await error(await client.post("/other", data="1"), 404, "not_found")
    assert detail.startswith("there is no POST /other: POST CloudEvents to /, and feedback")


async def test_a_body_without_headers_gets_advice(start: Start, sink: FakeSink) -> None:
    client = await start()
    sink.accept = decoded  # type: ignore[method-assign]
    for body in ('{"a": 1}', '{"reward": 1}'):
        answer = await client.post("/", data=body, headers={"Content-Type": "application/json"})
        detail = await error(answer, 400, "not_cloudevent")
        assert "add it" in detail
        assert "Ce-Type" in detail
        assert "/feedback" in detail
    answer = await client.post("/", data='{"a": 1}', headers=STRUCTURED)
    assert "Ce-Type" not in (await answer.json())["detail"]


async def decoded(events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
    decoder = Decoder(read_models_file(None), Telemetry())
    results = [meaning(decoder.decode(*event)) for event in events]
    return [one if isinstance(one, DeadLetter) else None for one in results]


async def test_feedback(start: Start, sink: FakeSink) -> None:
    client = await start()
    names = {
        "ce-inferenceservicename": "sklearn",
        "ce-namespace": "seldon",
        "ce-endpoint": "default",
        "ce-modelid": "caf%C3%A9",
    }
    query = "deployment=sklearn&namespace=seldon&predictor=default&model=caf%C3%A9"
    ids = set()
    plain = {
        "deployment": "sklearn",
        "namespace": "seldon",
        "predictor": "default",
        "model": "caf%C3%A9",
    }
    for path, headers in (
        ("/feedback", names),
        ("/feedback", plain),
        (f"/feedback?{query}", {}),
        (f"/feedback?{query}", names | plain),
    ):
        answer = await client.post(
            path, data=b'{"reward": 1}', headers={"Seldon-Puid": "p1"} | headers
        )
        assert answer.status == 202
        assert await answer.json() == {"accepted": 1, "time": TIME, "matched": None}
        event = sink.events.pop()
        attributes = dict(event.headers)
        ids.add(attributes.pop("ce_id"))
        attributes.pop("content-type")
        assert attributes == {
            "ce_specversion": b"1.0",
            "ce_type": b"io.seldon.serving.feedback",
            "ce_source": b"/feedback",
            "ce_time": TIME.encode(),
            "ce_requestid": b"p1",
            "ce_inferenceservicename": b"sklearn",
            "ce_namespace": b"seldon",
            "ce_endpoint": b"default",
            "ce_modelid": "café".encode(),
        }
        assert (event.value, event.timestamp) == (b'{"reward": 1}', NOW)
    assert len(ids) == 4


async def test_ids_with_a_percent_sign(start: Start, sink: FakeSink) -> None:
    """`Ce-Requestid` is decoded as the CloudEvents binding says, `Seldon-Puid` is taken as it stands."""
    client = await start()
    await client.post("/", data=b"{}", headers={**BINARY, "Ce-Requestid": "50%25%20off"})
    await client.post("/", data=b"{}", headers={**BINARY, "Seldon-Puid": "50%25"})
    path = "/feedback?deployment=sklearn&namespace="
    await client.post(path, data=b"{}", headers={"Seldon-Puid": "50%25"})
    first, second, third = (dict(event.headers) for event in sink.events)
    assert first["ce_requestid"] == b"50% off"
    assert second["seldon-puid"] == b"50%25"
    assert third["ce_requestid"] == b"50%25"


async def test_headers_that_the_models_file_names_are_kept(sink: FakeSink) -> None:
    entries = [{"match": "*/*", "request_id": "header X-Order"}]
    rules = parse_rules({"models": entries}, "file")
    app = make_ingress(sink, Settings(), lambda: NOW, rules)
    async with TestClient(TestServer(app)) as client:
        await client.post("/", data=b"{}", headers={**BINARY, "X-Order": "o-1", "X-Other": "x"})
        rules.replace(())
        await client.post("/", data=b"{}", headers={**BINARY, "X-Order": "o-1"})
    first, second = (dict(event.headers) for event in sink.events)
    assert (first["x-order"], "x-other" in first, "x-order" in second) == (b"o-1", False, False)


async def test_feedback_without_predictor_and_model(start: Start, sink: FakeSink) -> None:
    client = await start()
    path = "/feedback?deployment=sklearn&namespace="
    answer = await client.post(path, data=b'{"reward": 1}', headers={"seldon-puid": "p1"})
    assert answer.status == 202
    attributes = dict(sink.events[0].headers)
    assert attributes["ce_namespace"] == b""
    assert not {"ce_endpoint", "ce_modelid"} & set(attributes)


@pytest.mark.parametrize(
    ("path", "headers", "named"),
    [
        ("?deployment=d&namespace=n", {}, "seldon-puid"),
        ("?namespace=n", {"seldon-puid": "p"}, "the deployment is missing"),
        ("?deployment=&namespace=n", {"seldon-puid": "p"}, "the deployment is missing"),
        ("?deployment=d", {"seldon-puid": "p"}, "the namespace is missing"),
        ("?deployment=d&namespace=n&nodel=m", {"seldon-puid": "p"}, "'nodel' is unknown"),
        (
            "?deployment=d&namespace=n",
            {"seldon-puid": "p", "ce-namespace": "other"},
            "the namespace is given twice",
        ),
    ],
)
async def test_feedback_with_missing_or_wrong_names(
    start: Start, sink: FakeSink, path: str, headers: dict[str, str], named: str
) -> None:
    client = await start()
    answer = await client.post(f"/feedback{path}", data=b"{}", headers=headers)
    assert named in await error(answer, 400, "bad_request")
    assert not sink.events


async def test_feedback_that_is_rejected(start: Start, sink: FakeSink) -> None:
    client = await start()
    path = "/feedback?deployment=d&namespace=n"
    answer = await client.post(path, data=b"bad", headers={"seldon-puid": "p"})
    await error(answer, 400, "bad_json")
    assert len(sink.events) == 1
