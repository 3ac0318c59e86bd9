"""Names that match no stored result; of those that match nothing in a source see the replay's tests."""

import pytest

from processor.archive.elasticsearch.results import StoredResult
from processor.domain.model_key import ModelKey
from processor.domain.results import Events, Replay, model_results
from processor.domain.statistics.counts import Counts
from processor.errors import ProcessorError
from processor.replay.fold import Selection
from processor.report import command
from processor.report.stored import to_store
from processor.settings import Settings


class FakeStore:
    """Results of one deployment, on the request basis."""

    def __init__(self, _: Settings) -> None:
        models = model_results({ModelKey("shop", "pets", "default", "clf"): Counts(1)}, "request")
        replay = Replay(None, None, "request", models, Events(read=1))
        self._results = list(to_store(replay, None, "2026-11-20T00:00:00Z"))

    async def read(self, by: str, namespace: str, deployment: str) -> list[StoredResult]:
        """Those of the basis and names, which are all where they are empty."""
        return [
            each
            for each in self._results
            if by in ("", each.by)
            and namespace in ("", each.result.namespace)
            and deployment in ("", each.result.deployment)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_name_that_matches_no_stored_result_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ResultStore", FakeStore)
    with pytest.raises(ProcessorError, match=r"--deployment pest: did you mean shop/pets\?"):
        await command.report_stored(Settings(), Selection(deployment="pest"), "", "text", None)
    # That there are none at all, or none on a basis, is no mistake in a name.
    await command.report_stored(Settings(), Selection(deployment="x"), "feedback", "text", None)
    assert "no results stored" in capsys.readouterr().out
