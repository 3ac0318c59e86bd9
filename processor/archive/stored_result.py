"""A result that is kept: of one model in one period."""

from hashlib import blake2b

import msgspec

from processor.domain.results import ModelResult


class StoredResult(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The result of one model in one period on one basis. Times are RFC 3339; None is an open end of
    the period, or no given ``as_of``."""

    from_: str | None
    to: str | None
    by: str
    as_of: str | None
    stored_at: str
    result: ModelResult

    @property
    def key(self) -> str:
        """The document's id: equal for the same model, period and basis, so that a new result
        replaces the old one."""
        model = self.result
        names = [model.namespace, model.deployment, model.predictor, model.model]
        content = msgspec.json.encode([*names, self.from_, self.to, self.by])
        return blake2b(content, digest_size=16).hexdigest()
