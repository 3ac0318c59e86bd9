"""Documents read at speed say what the same documents say one by one."""

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.document_batches import DocumentBatches
from processor.domain.events.documents import DocumentReader
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.support.events.archived_documents import ROWS, TIMES, Documents, document, made, pick
from tests.support.events.line_outcomes import AS_OF, RULES, outcome


@given(st.lists(document(), min_size=6, max_size=12), pick([None, AS_OF]))
def test_batches_say_what_their_documents_say(documents: Documents, as_of: int | None) -> None:
    fast = ReplayFold(RULES, Selection(as_of=as_of))
    slow = ReplayFold(RULES, Selection(as_of=as_of))
    # Once more, of other requests, so that what was remembered is used.
    for prefix in ("id", "jd"):
        fast.add_documents(made(documents, prefix))
        for one in made(documents, prefix):
            reader = slow._documents._reader
            reader.invalidate()
            slow._documents = DocumentBatches(reader, slow.telemetry, as_of)
            slow.add_documents([one])
    assert outcome(fast) == outcome(slow)


@given(st.lists(document(), min_size=6, max_size=12))
def test_what_was_read_before_changes_nothing(documents: Documents) -> None:
    telemetries = Telemetry(), Telemetry()
    remembering, forgetting = (DocumentReader(RULES, telemetry) for telemetry in telemetries)
    for prefix in ("id", "jd"):
        for one in made(documents, prefix):
            forgetting.invalidate()
            assert remembering.read(one) == forgetting.read(one)
    assert telemetries[0] == telemetries[1]


def test_documents_that_differ_in_one_thing_are_told_apart() -> None:
    documents: Documents = []
    for number, (reward, path) in enumerate([(0, "a"), (1, "a"), (2.5, "a"), (1, "b")]):
        payload = {"data": {"ndarray": [ROWS[0]]}, "meta": {"requestPath": {path: "image"}}}
        source = {
            "RequestId": f"id{number}",
            "Ce-Namespace": "ns",
            "Ce-Inferenceservicename": "dep",
            "Ce-Endpoint": "default",
            "Ce-Modelid": "clf",
            "response": {"ce-time": TIMES[0], "payload": payload},
            "feedback": {
                "ce-time": TIMES[1],
                "reward": reward,
                "truth": {"data": {"ndarray": [ROWS[0]]}},
            },
        }
        documents.append((f"id{number}", source))
    fold = ReplayFold(RULES, Selection())
    for prefix in ("id", "jd"):
        fold.add_documents(made(documents, prefix))
    found = [(each.model, each.predictions, each.reward_sum) for each in fold.result().models]
    assert found == [("a", 6, 7.0), ("b", 2, 2.0)]
