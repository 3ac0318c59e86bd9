"""Log lines: those of libraries are limited, those of the processor are not."""

import json
import logging

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from processor.logs import set_up_logs


def test_a_library_says_the_same_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("INFO", "json")
    for number in range(5):
        logging.getLogger("aiokafka.client").error("no connection to %s", number)
        logging.getLogger("processor.stream").info("line %d", number)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines if line["logger"].startswith("aiokafka")] == [
        "no connection to 0"
    ]
    assert sum(line["logger"] == "processor.stream" for line in lines) == 5


def test_what_is_no_http_is_a_line_without_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of the processor are logged with a traceback, malformed requests without their bytes."""
    set_up_logs("INFO", "text")
    for error in (BadHttpMessage("nonsense"), KeyError("ours")):
        logging.getLogger("aiohttp.server").error("failed: %s", error, exc_info=error)
    written = capsys.readouterr().err
    assert "nonsense" not in written
    assert "malformed HTTP" in written
    assert "KeyError" in written


def test_what_the_service_says_itself_is_not_logged_by_the_client_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for level in ("INFO", "DEBUG"):
        set_up_logs(level, "text")
        logging.getLogger("aiokafka").error('Unable connect to "%s:%s": %s', "h", 1, "refused")
        logging.getLogger("aiokafka").error("Topic %s is not authorized for this client", "t")
        written = capsys.readouterr().err
        assert "not authorized" in written
        assert ("Unable connect" in written) == (level == "DEBUG")
