"""Log lines: a library can't flood, our own lines all come."""

import json
import logging

import pytest

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
