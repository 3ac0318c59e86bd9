"""Train, serve, ask 100 times, judge 63 of the answers, and see 46 of them right.

processor run                # in another terminal; then open http://127.0.0.1:9102/
python -m examples.iris
"""

import argparse
import asyncio
import random
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from examples.iris.server import SeldonServer

REQUESTS, FEEDBACKS, CORRECT = 100, 63, 46
NAMES = ["t:0", "t:1", "t:2"]
TAGS = {"user": "Seldon Admin", "date": "11/07/2020"}
_PATIENCE = 60.0


async def experiment(model: str, session: aiohttp.ClientSession) -> None:
    """The notebook's cells, against the model's REST address."""
    flowers = random.Random(0).choices(load_iris().data.tolist(), k=REQUESTS)
    answered = []
    for flower in flowers:
        async with session.post(
            f"{model}/predictions", json={"data": {"ndarray": [flower]}}
        ) as answer:
            answer.raise_for_status()
            (scores,) = (await answer.json())["data"]["ndarray"]
            answered.append((answer.headers["Seldon-Puid"], scores.index(max(scores))))

    for number, (puid, predicted) in enumerate(answered[:FEEDBACKS]):
        right = number < CORRECT
        truth: dict[str, Any] = {"meta": {"tags": TAGS}}
        if not right:
            # Who says that it is wrong says what it is.
            one_hot = [int(place == (predicted + 1) % len(NAMES)) for place in range(len(NAMES))]
            truth["data"] = {"names": NAMES, "ndarray": [one_hot]}
        async with session.post(
            f"{model}/feedback",
            json={"reward": int(right), "truth": truth},
            headers={"Seldon-Puid": puid},
        ) as answer:
            answer.raise_for_status()


Counts = tuple[int, int, int]


async def counts(page: str, session: aiohttp.ClientSession) -> Counts:
    """What the processor says of the model so far: predictions, judged, correct."""
    async with session.get(f"{page}api/models?window=all&by=request") as answer:
        for model in (await answer.json())["models"]:
            if model["deployment"] == "sklearn" and model["model"] == "irisclassifier-default":
                return model["predictions"], model["judged"], model["correct"]
    return 0, 0, 0


async def added(before: Counts, page: str, session: aiohttp.ClientSession) -> Counts:
    """What has come to the counts, once all the feedback has."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        predictions, judged, correct = await counts(page, session)
        if predictions - before[0] >= REQUESTS and judged - before[1] >= FEEDBACKS:
            return predictions - before[0], judged - before[1], correct - before[2]
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{page} does not show {FEEDBACKS} more judged after {_PATIENCE:.0f} s")


async def main(events: str, page: str) -> None:
    """Serve, play the experiment, and say what came of it."""
    features, labels = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=1000).fit(features, labels)
    server = SeldonServer(classifier.predict_proba, NAMES, events)
    runner = web.AppRunner(server.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        model = f"http://{host}:{port}/seldon/seldon/sklearn/api/v1.0"
        print(f"model    {model}")
        print(f"page     {page}")
        async with aiohttp.ClientSession() as session:
            before = await counts(page, session)
            await experiment(model, session)
            await server.logged()
            if server.dropped:
                sys.exit(f"{server.dropped} events were not taken by {events}: is it running?")
            predictions, judged, correct = await added(before, page, session)
        print(f"{correct} right of {judged} judged of {predictions} predicted")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.iris", description=__doc__)
    parser.add_argument("--events", default="http://127.0.0.1:8080/", help="CloudEvents sink")
    parser.add_argument("--page", default="http://127.0.0.1:9102/", help="the processor's page")
    args = parser.parse_args()
    try:
        asyncio.run(main(args.events, args.page))
    except (aiohttp.ClientError, TimeoutError) as error:
        sys.exit(f"{error}: is the processor running?")
