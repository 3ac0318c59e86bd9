"""The store of the join's requests. It behaves like a dict of requests, which it keeps packed."""

from collections import Counter
from collections.abc import Callable, Iterator

from processor.domain.join.requests.codec import RequestCodec, times_and_content
from processor.domain.join.requests.request import Request
from processor.domain.join.state import JoinState

#: A deployment's position in the state's table, and a request's id.
RequestRef = tuple[int, str]

#: Approximate bytes of memory of an entry in the tables of a state.
_ENTRY_BYTES = 400


class RequestStore:
    """The requests of a state. Deployments are positions in the state's table."""

    def __init__(self, state: JoinState) -> None:
        self._state = state
        self._table = state.requests
        self.codec = RequestCodec(state.answers, state.truths)

    def __len__(self) -> int:
        return len(self._table)

    def add_deployment(self) -> None:
        """Add the table of the next deployment."""
        self._table.add_deployment()

    def get(self, deployment: int, request_id: str) -> Request | None:
        """A request, None if it is not in memory. `put` it back after a change."""
        packed = self._table.get(deployment, request_id)
        return None if packed is None else self.codec.unpack(packed)

    def has(self, deployment: int, request_id: str) -> bool:
        """Whether a request is in memory."""
        return self._table.get(deployment, request_id) is not None

    def put(self, deployment: int, request_id: str, request: Request) -> None:
        """Store a request, new or changed."""
        self._table.put(deployment, request_id, self.codec.pack(request))

    def remove(self, deployment: int, request_id: str) -> None:
        """Remove a request that is in memory."""
        self._table.remove(deployment, request_id)

    def packed(self) -> Iterator[tuple[RequestRef, bytes]]:
        """Every request as it is packed; see `items` for changes meanwhile."""
        deployment = 0
        while deployment < len(self._state.deployments):
            number = 0
            while number < self._table.parts(deployment):
                for request_id, packed in self._table.part(deployment, number):
                    yield (deployment, request_id), packed
                number += 1
            deployment += 1

    def items(self) -> Iterator[tuple[RequestRef, Request]]:
        """Every request. A request that changes meanwhile may come twice or not at all."""
        for ref, packed in self.packed():
            yield ref, self.codec.unpack(packed)

    def group_by_content(
        self,
        in_range: Callable[[int, int | None], bool],
        judge: Callable[[Request, bool], bool] | None,
    ) -> Iterator[tuple[Request, bool | None, int]]:
        """Requests grouped by content: one of each group, whose times mean nothing, whether ``in_range``
        is true of the times (ns) of prediction and feedback (0 without feedback), and the group's size.
        A request with several predictions or feedbacks is a group of its own, with None for the range.
        One with values and feedback is a group of its own too, or left out if ``judge`` returns True,
        which has then judged it."""
        groups: Counter[tuple[bytes, bool]] = Counter()
        examples: dict[bytes, bytes] = {}
        for _, packed in self.packed():
            found = times_and_content(packed)
            if found is None:
                yield self.codec.unpack(packed), None, 1
                continue
            predicted_at, feedback_at, content = found
            is_in_range = in_range(predicted_at, feedback_at)
            if content is not None:
                examples.setdefault(content, packed)
                groups[content, is_in_range] += 1
                continue
            request = self.codec.unpack(packed)
            if not request.feedbacks:
                # Their values say nothing yet, so that millions are one group.
                (prediction,) = request.predictions
                content = repr((prediction.model, prediction.answers)).encode()
                examples.setdefault(content, packed)
                groups[content, is_in_range] += 1
            elif judge is None or not judge(request, is_in_range):
                yield request, is_in_range, 1
        for (content, is_in_range), count in groups.items():
            yield self.codec.unpack(examples[content]), is_in_range, count

    def unmatched(self) -> Iterator[RequestRef]:
        """Every request that has feedback and no prediction."""
        yield from self._table.unmatched()

    def expire(self, before: int) -> tuple[int, int, int]:
        """Drop requests first seen before a log hour. Returns how many, how many of them had only
        predictions, and how many only feedback."""
        return self._table.expire(before)

    def oldest(self) -> int | None:
        """The log hour in which the oldest request was first seen, None if there is none."""
        return self._table.oldest()

    @property
    def approx_bytes(self) -> int:
        """About how many bytes of memory the requests take."""
        state = self._state
        entries = len(state.models) + len(state.answers) + len(state.truths)
        return self._table.approx_bytes() + entries * _ENTRY_BYTES
