"""A model behind Seldon's REST protocol that logs as Seldon's executor does: each request, response and
feedback is a CloudEvent, sent beside the answer, in no particular order, and never twice."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

_SENDERS = 10
_QUEUE = 10_000

#: Rows of features to rows of scores, one a class.
Predict = Callable[[Sequence[Sequence[float]]], Sequence[Sequence[float]]]


class SeldonServer:
    """``sink`` is where events go: the processor's ingress, with its ``token`` if it wants one, or a
    Knative Broker's."""

    def __init__(
        self,
        predict: Predict,
        names: Sequence[str],
        sink: str,
        *,
        token: str = "",
        namespace: str = "seldon",
        deployment: str = "sklearn",
        predictor: str = "default",
        model: str = "irisclassifier-default",
    ) -> None:
        self._predict = predict
        self._names = list(names)
        self._sink = sink
        self._login = {"Authorization": f"Bearer {token}"} if token else {}
        self._model = model
        self._headers = {
            "Ce-Specversion": "1.0",
            "Ce-Source": "http://:8000/",
            "Ce-Namespace": namespace,
            "Ce-Inferenceservicename": deployment,
            "Ce-Endpoint": predictor,
            "Ce-Modelid": model,
            "Ce-Protocol": "seldon",
            "Content-Type": "application/json",
        }
        self._queue: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue(_QUEUE)
        self.dropped = 0
        """Events that the sink did not take: nobody sends them again."""
        self.last_error = ""
        """Why it did not take the last one of them."""
        self.app = web.Application()
        path = f"/seldon/{namespace}/{deployment}/api/v1.0"
        self.app.add_routes(
            [
                web.post(f"{path}/predictions", self._predictions),
                web.post(f"{path}/feedback", self._feedback),
            ]
        )
        self.app.cleanup_ctx.append(self._sending)

    async def logged(self) -> None:
        """All events so far are with the sink."""
        await self._queue.join()

    async def _predictions(self, request: web.Request) -> web.Response:
        puid = request.headers.get("Seldon-Puid") or str(uuid.uuid4())
        asked = await request.json()
        scores = self._predict(asked["data"]["ndarray"])
        answer = {
            "data": {"names": self._names, "ndarray": [list(map(float, row)) for row in scores]},
            "meta": {"requestPath": {self._model: "sklearnserver"}},
        }
        self._log("io.seldon.serving.inference.request", puid, asked)
        self._log("io.seldon.serving.inference.response", puid, answer)
        return web.json_response(answer, headers={"Seldon-Puid": puid})

    async def _feedback(self, request: web.Request) -> web.Response:
        puid = request.headers.get("Seldon-Puid")
        if puid is None:
            return web.json_response({"error": "header seldon-puid names the request"}, status=400)
        self._log("io.seldon.serving.feedback", puid, await request.json())
        return web.json_response({"data": {"tensor": {"shape": [0]}}, "meta": {}})

    def _log(self, kind: str, puid: str, body: Any) -> None:
        headers = {
            **self._headers,
            "Ce-Id": str(uuid.uuid4()),
            "Ce-Type": kind,
            "Ce-Time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "Ce-Requestid": puid,
        }
        self._queue.put_nowait((headers, json.dumps(body).encode()))

    async def _sending(self, app: web.Application) -> Any:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(headers=self._login, timeout=timeout) as session:
            senders = [asyncio.create_task(self._send(session)) for _ in range(_SENDERS)]
            yield
            for sender in senders:
                sender.cancel()

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while True:
            headers, body = await self._queue.get()
            try:
                async with session.post(self._sink, data=body, headers=headers) as answer:
                    if answer.status != 202:
                        self._drop(f"it answers {answer.status} {answer.reason}")
            except (aiohttp.ClientError, TimeoutError) as error:
                self._drop(str(error) or "it does not answer")
            finally:
                self._queue.task_done()

    def _drop(self, last_error: str) -> None:
        self.dropped += 1
        self.last_error = last_error
