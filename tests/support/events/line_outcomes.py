"""The rules and the time with which lines and documents are read, and what the reading gave."""

from msgspec.structs import replace

from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay
from processor.replay.fold import ReplayFold

AS_OF = 1_795_165_439_500_000_000

RULES = ModelRules()


def outcome(
    fold: ReplayFold,
) -> tuple[Replay, dict[str, int], dict[str, int], set[tuple[object, ...]]]:
    telemetry = fold.telemetry
    joined_predictions: set[tuple[object, ...]] = {
        (
            s.prediction.time,
            s.prediction.digest,
            s.feedback and (s.feedback.time, s.feedback.digest),
        )
        for s in fold._join.joined_predictions()
    }
    replay = fold.result()
    # Within a block the order of arrival is another, and these depend on it.
    events = replace(replay.events, superseded=0, corrections=0, duplicates=0)
    replay = replace(replay, events=events)
    return replay, dict(telemetry.events), dict(telemetry.not_scorable), joined_predictions
