"""The example of an InferenceService: its logger writes to the Broker of the overlay."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.manifests import OVERLAYS, ROOT, find, read_one

EXAMPLE = ROOT / "examples" / "kserve" / "inferenceservice.yaml"
PAGE = ROOT / "docs" / "how-to" / "kserve.md"
#: What a predictor may have of what is written here, by the CRD of KServe (serving.kserve.io/v1beta1).
LOGGER_MODES = {"all", "request", "response"}
KNOWN = {
    "": {"labels", "logger", "model"},
    "logger": {"mode", "url"},
    "model": {"modelFormat", "protocolVersion", "storageUri"},
}


def _documented() -> Any:
    (text,) = re.findall(
        r"```yaml\n(apiVersion: serving.kserve.io.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    return yaml.safe_load(text)


@pytest.mark.parametrize("service", [read_one(EXAMPLE), _documented()], ids=["example", "page"])
def test_a_service_has_fields_that_kserve_knows(service: dict[str, Any]) -> None:
    assert (service["apiVersion"], service["kind"]) == (
        *("serving.kserve.io/v1beta1", "InferenceService"),
    )
    predictor = service["spec"]["predictor"]
    for part, known in KNOWN.items():
        assert (predictor[part] if part else predictor).keys() <= known
    assert predictor["logger"]["mode"] in LOGGER_MODES


def test_the_logger_writes_to_the_broker_of_the_overlay() -> None:
    broker = find(OVERLAYS / "kafka-broker", "Broker")["metadata"]
    url = urlsplit(read_one(EXAMPLE)["spec"]["predictor"]["logger"]["url"])
    assert url.path == f"/{broker['namespace']}/{broker['name']}"
    assert url.geturl() in PAGE.read_text(encoding="utf-8")
    assert "examples/kserve/inferenceservice.yaml" in PAGE.read_text(encoding="utf-8")
