"""Look-ups in the memory of this process, for the answer to a feedback."""

from processor.service.health import ServiceHealth


class KnownRequests:
    """The `processor.ingress.request_lookup.RequestLookup` of a service, from the join of its worker."""

    def __init__(self, health: ServiceHealth) -> None:
        self._health = health

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """See `RequestLookup`. While the archive is read, a prediction may still be found there."""
        worker = self._health.worker
        found = None if worker is None else worker.known(namespace, deployment, request_id)
        if found is False and not self._health.bootstrap_complete.is_set():
            return None
        return found
