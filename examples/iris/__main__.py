"""Train a classifier on a third of the iris flowers, serve it, ask it for the other 100, and send the
true species of 63 of them as feedback: the other answers are never judged.

processor run                # in another terminal; then open http://127.0.0.1:9102/
python -m examples.iris      # with the same PROCESSOR_* settings
"""

import argparse
import asyncio
import random
import sys
import time
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from examples.iris.server import SeldonServer
from processor.errors import ProcessorError, SettingsError
from processor.replay.send import local_ingress
from processor.settings import Settings

REQUESTS, FEEDBACKS = 100, 63
#: One split and one choice of judged flowers for every run, in which the model errs now and then.
SEED = 5
_PATIENCE = 60.0


class Iris(NamedTuple):
    """A trained model, and flowers that it has not seen: measurements and the index of the species."""

    classifier: LogisticRegression
    names: list[str]
    flowers: list[tuple[list[float], int]]


def train() -> Iris:
    """Train on the flowers that are not asked for."""
    data = load_iris()
    seen, unseen, species, truth = train_test_split(
        data.data, data.target, test_size=REQUESTS, stratify=data.target, random_state=SEED
    )
    classifier = LogisticRegression(max_iter=1000).fit(seen, species)
    flowers = list(zip(unseen.tolist(), truth.tolist(), strict=True))
    return Iris(classifier, data.target_names.tolist(), flowers)


async def experiment(model: str, iris: Iris, session: aiohttp.ClientSession) -> int:
    """Ask for each flower, and tell the species of some; how many of these answers were right."""
    answered: list[tuple[str, int, int]] = []
    for flower, species in iris.flowers:
        async with session.post(
            f"{model}/predictions", json={"data": {"ndarray": [flower]}}
        ) as answer:
            answer.raise_for_status()
            (scores,) = (await answer.json())["data"]["ndarray"]
            answered.append((answer.headers["Seldon-Puid"], scores.index(max(scores)), species))

    right = 0
    for puid, predicted, species in random.Random(SEED).sample(answered, FEEDBACKS):
        is_right = predicted == species
        right += is_right
        one_hot = [int(place == species) for place in range(len(iris.names))]
        feedback: dict[str, Any] = {
            "reward": int(is_right),
            "truth": {"data": {"names": iris.names, "ndarray": [one_hot]}},
        }
        async with session.post(
            f"{model}/feedback", json=feedback, headers={"Seldon-Puid": puid}
        ) as answer:
            answer.raise_for_status()
    return right


Counts = tuple[int, int, int]


async def counts(page: str, session: aiohttp.ClientSession) -> Counts:
    """What the processor says of the model so far: predictions, judged, correct."""
    async with session.get(f"{page}/api/models?window=all&by=request") as answer:
        answer.raise_for_status()
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


async def main(events: str, page: str, token: str) -> None:
    """Serve, play the experiment, and say what came of it."""
    page = page.rstrip("/")
    iris = train()
    server = SeldonServer(iris.classifier.predict_proba, iris.names, events, token=token)
    runner = web.AppRunner(server.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        model = f"http://{host}:{port}/seldon/seldon/sklearn/api/v1.0"
        print(f"model    {model}")
        print(f"page     {page}/")
        async with aiohttp.ClientSession() as session:
            before = await counts(page, session)
            right = await experiment(model, iris, session)
            await server.logged()
            if server.dropped:
                sys.exit(f"{server.dropped} events were not taken by {events}: {server.last_error}")
            predictions, judged, correct = await added(before, page, session)
        print(f"{correct} right of {judged} judged of {predictions} predicted")
        if (predictions, judged, correct) != (REQUESTS, FEEDBACKS, right):
            sys.exit(f"the experiment has {right} right of {FEEDBACKS}: does another one run?")
    finally:
        await runner.cleanup()


def addresses(events: str, page: str, settings: Settings) -> tuple[str, str]:
    """Where events go and where the page is: as given, else as the settings say."""
    if not page and not settings.metrics_port:
        raise SettingsError("PROCESSOR_METRICS_PORT is 0, a free port: give --page")
    return events or local_ingress(settings), page or f"http://127.0.0.1:{settings.metrics_port}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.iris", description=__doc__)
    parser.add_argument(
        "--events", default="", help="where CloudEvents go (default: by PROCESSOR_INGRESS_PORT)"
    )
    parser.add_argument(
        "--page", default="", help="the processor's page (default: by PROCESSOR_METRICS_PORT)"
    )
    args = parser.parse_args()
    try:
        settings = Settings.from_env()
        sink, page = addresses(args.events, args.page, settings)
        asyncio.run(main(sink, page, str(settings.ingress_token)))
    except KeyboardInterrupt:
        sys.exit(130)
    except ProcessorError as error:
        sys.exit(str(error))
    except (aiohttp.ClientError, TimeoutError) as error:
        sys.exit(f"{error}: is the processor running?")
