"""What makes each alert of `deploy/` fire in a run, by the test that does it."""

from typing import NamedTuple

import yaml

from tests.support.manifests import DEPLOY

RULES = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")

#: How long each alert's condition must hold.
HOLDS: dict[str, str] = {
    rule["alert"]: rule.get("for", "")
    for group in yaml.safe_load(RULES)["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


class Cause(NamedTuple):
    """An action that makes an alert fire once the rule's own times have passed.

    ``waits`` are ranges of the rule that must fill or empty first, and ``seconds`` the number that a
    metric has to reach.
    """

    what: str
    waits: tuple[str, ...] = ()
    seconds: float = 0.0


_WRONG = "a model's answers turn wrong"
_LOST = "most labels of a model no longer come"
_OTHER = "a model's numbers are far off"
#: Models that get worse, all on one worker.
MODELS = {
    "ModelAccuracyLow": Cause(_WRONG),
    "ModelAccuracyFell": Cause(_WRONG),
    "ModelRecallFell": Cause(_WRONG),
    "ModelErrorBudgetBurnsFast": Cause(_WRONG),
    "ModelErrorBudgetBurns": Cause(_WRONG),
    "ModelCoverageFell": Cause(_LOST),
    "ModelCoverageLow": Cause(_LOST),
    "ModelLabelPaceChanged": Cause(_LOST),
    "ModelFeedbackStopped": Cause("four days of predictions, and no feedback"),
    "ModelPredictionsDrifted": Cause("a model predicts one class nearly always"),
    "ModelClassNotPredicted": Cause("a class is predicted no more"),
    "ModelClassNotSeen": Cause("a class is gone from the truth"),
    "ModelCalibrationOff": Cause("a model is too sure of itself"),
    "ModelErrorAboveLimit": Cause(_OTHER),
    "ModelAbsoluteErrorHigh": Cause(_OTHER),
}
#: What befalls one embedded worker.
WORKER = {
    "ProcessorWindowsMissing": Cause("PROCESSOR_WINDOWS without `24h`"),
    "ProcessorModelsHidden": Cause("more models than PROCESSOR_MAX_MODELS"),
    "ProcessorDeadLetters": Cause("answers in no known form"),
    "ProcessorNotScorable": Cause("answers without a label"),
    "ProcessorFeedbackUnmatched": Cause("feedback with ids of no prediction"),
    "ProcessorIngressRefuses": Cause("requests that are no events"),
    "ProcessorModelsFileRefused": Cause("an error in the models file"),
    "ProcessorDiskFull": Cause("the folder of PROCESSOR_DATA is gone"),
    # The state is saved every 2 minutes.
    "ProcessorSnapshotsFail": Cause("the folder of PROCESSOR_DATA is gone", seconds=120),
    "ProcessorLateFeedback": Cause("feedback that has waited for PROCESSOR_HORIZON in vain"),
    "ProcessorNoEvents": Cause("no event any more", ("1d",)),
    "ProcessorWorkerDown": Cause("`kill -9`"),
    "ProcessorAbsent": Cause("the only worker is gone"),
}
_HANGS = "a fold hangs in silence"
#: What befalls workers on a Kafka, and their broker.
KAFKA = {
    "ProcessorTopicMissing": Cause("PROCESSOR_TOPICS names no topic"),
    "ProcessorArchiveAway": Cause("nothing answers at PROCESSOR_ARCHIVE"),
    "ProcessorBootstrapIncomplete": Cause("nothing answers at PROCESSOR_ARCHIVE"),
    # The watchdog looks every 10 s.
    "ProcessorStalled": Cause(_HANGS, seconds=140),
    "ProcessorCountsBehind": Cause(_HANGS, seconds=300),
    "ProcessorCheckpointOld": Cause(_HANGS, seconds=300),
    "ProcessorHeldDeltas": Cause("a delta is lost on its way"),
    "ProcessorPartitionFailing": Cause("a partition can't be folded"),
    "ProcessorConsumerLag": Cause("a worker reads one record a second", ("5m", "10m")),
    "ProcessorRequestsEvicted": Cause("PROCESSOR_MAX_MEMORY is less than what waits for feedback"),
    "ProcessorSourceLost": Cause("retention removes records while the worker is away"),
    "ProcessorBrokerAway": Cause("the broker is stopped"),
}
