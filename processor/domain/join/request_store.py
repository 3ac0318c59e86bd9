"""The store of the join's requests: packed in the common case, as objects otherwise.

The content of a request alone decides how it is kept, so the store behaves like a dict of requests. Only
the fast path uses the packed tables directly.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from processor.domain.join.packed_table import PackedRow, PackedTable
from processor.domain.join.request_ids import pack_id, unpack_id
from processor.domain.join.state import (
    FeedbackContent,
    FeedbackRegister,
    JoinState,
    PredictionContent,
    PredictionRegister,
    Request,
)
from processor.domain.native import native, use_native
from processor.domain.values import NUMBER, content_digest, digest, mix

#: A deployment's position in the state's table, and a request's id.
RequestRef = tuple[int, str]

#: `PackedTable.expire`, native if possible: it looks at every bucket while the stream waits.
expire = native.expire if use_native else PackedTable.expire

#: Contents that packed rows share; contents that never repeat must not pile up without a bound.
_MAX_CONTENTS = 1 << 18
#: Approximate bytes of memory of a row, a bucket, a request as an object, and a content.
_ROW_BYTES, _BUCKET_BYTES, _OBJECT_BYTES, _CONTENT_BYTES = 52, 96, 700, 400


class ValuedRow(NamedTuple):
    """A packed request with values and a feedback: the contents of both, whether its time is in range,
    and the values."""

    prediction_id: int
    feedback_id: int
    is_in_range: bool
    values: bytes
    truth_values: bytes


class RequestStore:
    """The requests of a state. Deployments are positions in the state's table."""

    def __init__(self, state: JoinState) -> None:
        self._state = state
        self._prediction_bases: dict[int, int] = {}
        self._feedback_bases: dict[tuple[int, int | None], int] = {}
        # A plain tuple finds an equal content, and takes less time to make.
        self.prediction_ids: dict[tuple[object, ...], int] = {
            content: number for number, content in enumerate(state.prediction_contents)
        }
        self.feedback_ids: dict[tuple[object, ...], int] = {
            content: number for number, content in enumerate(state.feedback_contents, 1)
        }

    def __len__(self) -> int:
        state = self._state
        return sum(table.count for table in state.packed_requests) + sum(
            map(len, state.object_requests)
        )

    def add_deployment(self) -> None:
        """Add the tables of the next deployment."""
        self._state.packed_requests.append(PackedTable())
        self._state.object_requests.append({})

    def prediction_id(self, content: PredictionContent) -> int | None:
        """The position of a content; None if the table is full."""
        number = self.prediction_ids.get(content)
        if number is None and len(self._state.prediction_contents) < _MAX_CONTENTS:
            number = self.prediction_ids[content] = len(self._state.prediction_contents)
            self._state.prediction_contents.append(content)
        return number

    def feedback_id(self, content: FeedbackContent) -> int | None:
        """The position of a content, counted from 1; None if the table is full."""
        number = self.feedback_ids.get(content)
        if number is None and len(self._state.feedback_contents) < _MAX_CONTENTS:
            self._state.feedback_contents.append(content)
            number = self.feedback_ids[content] = len(self._state.feedback_contents)
        return number

    def get(self, deployment: int, request_id: str) -> Request | None:
        """A request, None if it is not in memory. `put` it back after a change."""
        request = self._state.object_requests[deployment].get(request_id)
        if request is None:
            key = pack_id(request_id)
            row = None if key is None else self._state.packed_requests[deployment].get(key)
            if row is not None:
                return self._unpacked(row)
        return request

    def has(self, deployment: int, request_id: str) -> bool:
        """Whether a request is in memory."""
        if request_id in self._state.object_requests[deployment]:
            return True
        key = pack_id(request_id)
        return key is not None and self._state.packed_requests[deployment].get(key) is not None

    def put(self, deployment: int, request_id: str, request: Request) -> None:
        """Store a request, new or changed."""
        table = self._state.packed_requests[deployment]
        objects = self._state.object_requests[deployment]
        key = pack_id(request_id)
        if key is None:
            objects[request_id] = request
            return
        row = self._row(key, request)
        if row is not None and table.put(row):
            objects.pop(request_id, None)
        else:
            if request_id not in objects and table.get(key) is not None:
                table.remove(key)
            objects[request_id] = request

    def pop(self, deployment: int, request_id: str) -> Request:
        """Remove and return a request that is in memory."""
        request = self._state.object_requests[deployment].pop(request_id, None)
        if request is None:
            request = self.get(deployment, request_id)
            key = pack_id(request_id)
            assert request is not None
            assert key is not None
            self._state.packed_requests[deployment].remove(key)
        return request

    def items(self) -> Iterator[tuple[RequestRef, Request]]:
        """Every request. A request that changes meanwhile may come twice or not at all."""
        for deployment in range(len(self._state.packed_requests)):
            for request_id, request in list(self._state.object_requests[deployment].items()):
                yield (deployment, request_id), request
            for row in self._state.packed_requests[deployment].rows():
                yield (deployment, unpack_id(row.key)), self._unpacked(row)

    def group_by_content(
        self, in_range: Callable[[int, int], bool], judge: Callable[[ValuedRow], bool] | None
    ) -> Iterator[tuple[Request, bool, int]]:
        """Packed requests grouped by content: one of each group, whose times mean nothing, whether
        ``in_range`` is true of the times (ns) of prediction and feedback (0 without feedback), and the
        group's size. A request with values and feedback is a group of its own, or left out if ``judge``
        returns True, which has then judged it."""
        for table in self._state.packed_requests:
            groups: Counter[tuple[int, int, bool]] = Counter()
            for bucket in table.buckets:
                for row in table.iter_bucket(bytes(bucket)):
                    is_in_range = in_range(row.predicted_at, row.feedback_at)
                    length = self._state.prediction_contents[row.prediction_id].length
                    if not length or not row.feedback_id:
                        groups[row.prediction_id, row.feedback_id, is_in_range] += 1
                    elif judge is None or not judge(self._valued_row(row, is_in_range)):
                        yield self._unpacked(row), is_in_range, 1
            for (prediction_id, feedback_id, is_in_range), count in groups.items():
                row = PackedRow(b"", 0, prediction_id, 0, feedback_id, 0)
                yield self._unpacked(row), is_in_range, count

    def objects(self) -> Iterator[Request]:
        """Requests that are not packed."""
        for objects in self._state.object_requests:
            yield from list(objects.values())

    def unmatched(self) -> Iterator[RequestRef]:
        """Every request that has feedback and no prediction; such requests are never packed."""
        for deployment, objects in enumerate(self._state.object_requests):
            for request_id, request in objects.items():
                if not request.predictions:
                    yield deployment, request_id

    def expire(self, before: int) -> tuple[int, int, int]:
        """Drop requests first seen before a log hour. Returns how many, how many of them had only
        predictions, and how many only feedback."""
        dropped = waiting = unmatched = 0
        for table, objects in zip(
            self._state.packed_requests, self._state.object_requests, strict=True
        ):
            rows, without_feedback = expire(table, before)
            dropped, waiting = dropped + rows, waiting + without_feedback
            for request_id in [
                each for each, one in objects.items() if one.first_seen_hour < before
            ]:
                request = objects.pop(request_id)
                dropped += 1
                unmatched += not request.predictions
                waiting += not request.feedbacks
        return dropped, waiting, unmatched

    def oldest(self) -> int | None:
        """The log hour in which the oldest request was first seen, None if there is none."""
        hours = [table.oldest() for table in self._state.packed_requests]
        hours += [
            min((one.first_seen_hour for one in objects.values()), default=None)
            for objects in self._state.object_requests
        ]
        return min((hour for hour in hours if hour is not None), default=None)

    @property
    def approx_bytes(self) -> int:
        """About how many bytes of memory the requests take."""
        state = self._state
        packed = state.packed_requests
        return (
            sum(t.count * (_ROW_BYTES + t.width) + len(t.buckets) * _BUCKET_BYTES for t in packed)
            + sum(map(len, state.object_requests)) * _OBJECT_BYTES
            + (len(state.prediction_contents) + len(state.feedback_contents)) * _CONTENT_BYTES
        )

    def base_of_prediction(self, answer: int) -> int:
        """The digest of an answer without its values, by its position in the state's table."""
        base = self._prediction_bases.get(answer)
        if base is None:
            base = self._prediction_bases[answer] = content_digest(self._state.answers[answer])
        return base

    def base_of_feedback(self, truth: int, reward: int | None) -> int:
        """The digest of a truth, by its position in the state's table, and a reward, without values."""
        base = self._feedback_bases.get((truth, reward))
        if base is None:
            base = digest((self._state.truths[truth],), reward)
            self._feedback_bases[truth, reward] = base
        return base

    def packed_base(
        self, answer: int, values: bytes, content: int, table: PackedTable
    ) -> int | None:
        """The digest of an answer without its values; None if the table cannot keep these, or the digest
        ``content`` of both is another."""
        base, width = self.base_of_prediction(answer), self.width_of(answer, len(values))
        if mix(base, values) != content or not self.can_pack(answer):
            return None
        return base if table.make_room(width) else None

    def width_of(self, answer: int, length: int) -> int:
        """The bytes of values that a row needs: those of a number leave room for its truth."""
        return 2 * length if self._state.answers[answer].mode == NUMBER else length

    def _row(self, key: bytes, request: Request) -> PackedRow | None:
        """The row of a request; None if it cannot be packed."""
        if len(request.predictions) != 1 or len(request.feedbacks) > 1:
            return None
        prediction = request.predictions[0]
        answer, packed, content = prediction.answers, prediction.values or b"", prediction.digest
        if isinstance(answer, list) or isinstance(packed, list):
            return None
        if packed:
            content = self.base_of_prediction(answer)
            if mix(content, packed) != prediction.digest or not self.can_pack(answer):
                return None
        prediction_id = self.prediction_id(
            PredictionContent(
                prediction.model,
                prediction.source_rank,
                content,
                answer,
                prediction.provisional,
                prediction.restored,
                len(packed),
            )
        )
        width = self.width_of(answer, len(packed))
        feedback_id: int | None = 0
        feedback_at = 0
        for feedback in request.feedbacks:
            truth, truth_values = feedback.truth, feedback.values or b""
            feedback_at, content = feedback.time, feedback.digest
            if isinstance(truth, list) or isinstance(truth_values, list):
                return None
            if truth_values:
                if truth is None or len(packed) + len(truth_values) > width:
                    return None
                content = self.base_of_feedback(truth, feedback.reward)
                if mix(content, truth_values) != feedback.digest:
                    return None
            feedback_id = self.feedback_id(
                FeedbackContent(
                    feedback.scope,
                    feedback.source_rank,
                    content,
                    truth,
                    feedback.reward,
                    len(truth_values),
                )
            )
            packed += truth_values
        if prediction_id is None or feedback_id is None:
            return None
        return PackedRow(
            key,
            request.first_seen_hour,
            prediction_id,
            prediction.time,
            feedback_id,
            feedback_at,
            packed.ljust(width, b"\0"),
        )

    def can_pack(self, answer: int) -> bool:
        """Whether the native extension can judge the values of an answer."""
        found = self._state.answers[answer]
        return found.mode != NUMBER or found.schema.unit <= 0

    def _valued_row(self, row: PackedRow, is_in_range: bool) -> ValuedRow:
        prediction = self._state.prediction_contents[row.prediction_id]
        feedback = self._state.feedback_contents[row.feedback_id - 1]
        end = prediction.length + feedback.length
        values, truth_values = row.values[: prediction.length], row.values[prediction.length : end]
        return ValuedRow(row.prediction_id, row.feedback_id, is_in_range, values, truth_values)

    def _unpacked(self, row: PackedRow) -> Request:
        state = self._state
        content = state.prediction_contents[row.prediction_id]
        start, packed = content.length, row.values[: content.length]
        prediction = PredictionRegister(
            content.model,
            row.predicted_at,
            content.source_rank,
            mix(content.digest, packed),
            content.answer,
            content.provisional,
            content.restored,
            packed or None,
        )
        feedbacks = []
        if row.feedback_id:
            feedback = state.feedback_contents[row.feedback_id - 1]
            packed = row.values[start : start + feedback.length]
            feedbacks.append(
                FeedbackRegister(
                    feedback.scope,
                    row.feedback_at,
                    feedback.source_rank,
                    mix(feedback.digest, packed),
                    feedback.truth,
                    feedback.reward,
                    packed or None,
                )
            )
        return Request(row.first_seen_hour, [prediction], feedbacks)
