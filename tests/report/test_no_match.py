"""Names that match no stored result."""

import pytest

from processor.archive.stored_result import StoredResult
from processor.domain.model_key import ModelKey
from processor.domain.results import Events, Replay, model_results
from processor.domain.statistics.counts import Counts
from processor.errors import ProcessorError
from processor.replay.selection import Selection
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
        """The results of a basis and of names; an empty one selects all."""
        return [
            each
            for each in self._results
            if by in ("", each.by)
            and namespace in ("", each.result.namespace)
            and deployment in ("", each.result.deployment)
        ]

    async def close(self) -> None:
        """Do nothing, since nothing is open."""


async def test_a_name_that_matches_no_stored_result_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("processor.archive.elasticsearch.results.ResultStore", FakeStore)
    with pytest.raises(ProcessorError, match=r"--deployment pest: did you mean shop/pets\?"):
        await command.report_stored(Settings(), Selection(deployment="pest"), "", "text", None)
    # Without any results, or any on the basis, the name may be right: no error.
    await command.report_stored(Settings(), Selection(deployment="x"), "feedback", "text", None)
    assert "no results stored" in capsys.readouterr().out
