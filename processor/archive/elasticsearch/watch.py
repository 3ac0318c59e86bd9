"""Watching an Elasticsearch archive: whether it answers, and lets this service do what it has to."""

import asyncio
import logging
from typing import Any

from elasticsearch import AsyncElasticsearch

from processor.archive.elasticsearch.http import ElasticsearchHttp, reply
from processor.errors import ArchiveError
from processor.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between two requests, and the seconds that one may take.
EVERY, PATIENCE = 1.5, 3.0
#: Settings of an index that forbid to write to it. Elasticsearch sets the last one when its disk is
#: almost full.
_BLOCKS = ("index.blocks.read_only", "index.blocks.write", "index.blocks.read_only_allow_delete")


class ArchiveWatch:
    """Asks for the blocks of the archive's indices, again and again.

    This one small request fails if the server is away, refuses the credentials, lacks the indices or
    does not let them be seen; and its answer says which indices can't be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.error: ArchiveError | None = None
        """What is wrong; None if nothing is."""
        self.checked = False
        """Whether the server was asked at least once."""
        self._pattern = settings.index
        self._writes = settings.outcomes or settings.request_logger
        # The request logger makes its index when it writes the first document.
        self._may_lack_index = settings.request_logger
        self._http = ElasticsearchHttp(settings.archive, settings.index, settings, 0.0)

    @property
    def up(self) -> int | None:
        """1 if the archive works, 0 if not; None before the first answer."""
        return int(self.error is None) if self.checked else None

    @property
    def refused(self) -> dict[str, int]:
        """The reason why it answers and refuses, if it does, with the number 1."""
        away = self.error is None or self.error.reason in ("away", "busy", "not_ready")
        return {} if self.error is None or away else {self.error.reason: 1}

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(EVERY)
        finally:
            await self._http.close()

    async def check(self) -> None:
        """Ask once."""
        try:
            self.error = await self._refusal()
        except ArchiveError as error:
            allowed = error.reason == "no_index" and self._may_lack_index
            self.error = None if allowed else error
        self.checked = True

    async def _refusal(self) -> ArchiveError | None:
        async def request(client: AsyncElasticsearch) -> dict[str, Any]:
            answer = await client.indices.get_settings(
                index=self._pattern,
                name="index.blocks.*",
                flat_settings=True,
                allow_no_indices=False,
            )
            return reply(answer.body)

        found = await self._http.call(
            "reading the settings of its indices", request, once=True, within=PATIENCE
        )
        blocked = sorted(index for index, content in found.items() if _is_blocked(content))
        if not blocked or not self._writes:
            return None
        more = f" and {len(blocked) - 1} more" if len(blocked) > 1 else ""
        return ArchiveError(
            f"Elasticsearch at {self._http.address} does not let {blocked[0]}{more} be written",
            "it is read-only, often since a disk of the cluster is almost full: make room, then set "
            "index.blocks.read_only_allow_delete to null",
            "read_only",
        )


def _is_blocked(content: Any) -> bool:
    """Whether the settings of an index, as Elasticsearch shows them, forbid to write to it.

    >>> _is_blocked({"settings": {"index.blocks.write": "true"}})
    True
    >>> _is_blocked({"settings": {"index.blocks.write": "false"}}), _is_blocked({}), _is_blocked(None)
    (False, False, False)
    """
    settings = content.get("settings") if isinstance(content, dict) else None
    return isinstance(settings, dict) and any(settings.get(one) == "true" for one in _BLOCKS)
