"""The state of the join: its requests, and the tables that their registers refer to."""

import msgspec

from processor.domain.join.id_set import IdSet, new_id_set
from processor.domain.join.requests.table import RequestTable, new_table
from processor.domain.model_key import ModelKey
from processor.domain.values import Answer, Reading


class JoinState(msgspec.Struct, array_like=True):
    """The state of a partition: a function of the log before the next offset."""

    log_time: int = 0
    """The greatest append time on the log (ns): the only clock of the fold."""
    models: list[ModelKey] = []
    answers: list[Answer] = []
    truths: list[Reading] = []
    deployments: list[tuple[str, str]] = []
    requests: RequestTable = msgspec.field(default_factory=new_table)
    sent: dict[int, int] = {}
    """The offset that sent the last delta, by target partition."""
    rows_differ: int = 0
    ambiguous: int = 0
    not_scorable: dict[str, int] = {}
    waiting: int = 0
    """Requests with a prediction and no feedback."""
    unmatched: int = 0
    """Requests with feedback and no prediction."""
    completed_ids: IdSet = msgspec.field(default_factory=new_id_set)
    """Identities of requests that were counted when they were complete, and not kept. They stay for a
    horizon after the last of these requests."""
    completed_hour: int = 0
    """The log hour in which the last of these requests was counted."""
    completed_until: int = -1
    """The time (ns) of the latest prediction among these requests."""
    loaded: int = 0
    """The position of the last record of a savepoint that was folded; 0 if there is none."""
