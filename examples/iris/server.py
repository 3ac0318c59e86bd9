"""A model server with Seldon's REST protocol that logs like Seldon's executor: each request, response
and feedback is sent once as a CloudEvent, in the background and in no particular order."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

#: Number of concurrent tasks that send events, and maximum number of events that wait for them.
_SENDERS, _QUEUE = 10, 10_000

#: A function from rows of features to rows of scores, with a score for each class.
Predict = Callable[[Sequence[Sequence[float]]], Sequence[Sequence[float]]]


class SeldonServer:
    """Serves ``predict``, whose classes have ``names``, and sends events to the address ``sink``: the
    processor's ingress, with its ``token`` if it requires one, or a Knative Broker."""

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
        """Number of events that the sink did not accept; they are not sent again."""
        self.last_error = ""
        """The reason why the sink did not accept the last of them."""
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
        """Wait until all events so far have been sent."""
        await self._queue.join()

    async def _predictions(self, request: web.Request) -> web.Response:
        puid = request.headers.get("Seldon-Puid") or str(uuid.uuid4())
        body = await request.json()
        scores = self._predict(body["data"]["ndarray"])
        answer = {
            "data": {"names": self._names, "ndarray": [list(map(float, row)) for row in scores]},
            "meta": {"requestPath": {self._model: "sklearnserver"}},
        }
        self._log("io.seldon.serving.inference.request", puid, body)
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
