"""Train a classifier on a third of the iris flowers, serve it, predict the species of the other 100, and
send the true species of 63 of them as feedback: the other predictions are never judged.

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
#: The same split and the same judged flowers in every run; the model makes some errors with this seed.
SEED = 5
#: Seconds to wait until all feedback is counted.
_TIMEOUT = 60.0


class Iris(NamedTuple):
    """A trained model, and flowers that it was not trained on: four measurements and the index of the
    species."""

    classifier: LogisticRegression
    names: list[str]
    flowers: list[tuple[list[float], int]]


def train() -> Iris:
    """Train a classifier on the flowers that are not in the requests."""
    data = load_iris()
    seen, unseen, species, truth = train_test_split(
        data.data, data.target, test_size=REQUESTS, stratify=data.target, random_state=SEED
    )
    classifier = LogisticRegression(max_iter=1000).fit(seen, species)
    flowers = list(zip(unseen.tolist(), truth.tolist(), strict=True))
    return Iris(classifier, data.target_names.tolist(), flowers)


async def experiment(model: str, iris: Iris, session: aiohttp.ClientSession) -> int:
    """Request a prediction for each flower, and send the species of some as feedback. Returns how many
    of the predictions with feedback are correct."""
    predictions: list[tuple[str, int, int]] = []
    for flower, species in iris.flowers:
        async with session.post(
            f"{model}/predictions", json={"data": {"ndarray": [flower]}}
        ) as answer:
            answer.raise_for_status()
            (scores,) = (await answer.json())["data"]["ndarray"]
            predictions.append((answer.headers["Seldon-Puid"], scores.index(max(scores)), species))

    correct = 0
    for puid, predicted, species in random.Random(SEED).sample(predictions, FEEDBACKS):
        is_correct = predicted == species
        correct += is_correct
        one_hot = [int(index == species) for index in range(len(iris.names))]
        feedback: dict[str, Any] = {
            "reward": int(is_correct),
            "truth": {"data": {"names": iris.names, "ndarray": [one_hot]}},
        }
        async with session.post(
            f"{model}/feedback", json=feedback, headers={"Seldon-Puid": puid}
        ) as answer:
            answer.raise_for_status()
    return correct


class Counts(NamedTuple):
    """The counts of a model: predicted, judged and correct items."""

    predictions: int = 0
    judged: int = 0
    correct: int = 0


async def counts(page: str, session: aiohttp.ClientSession) -> Counts:
    """The counts that the processor has for the model."""
    async with session.get(f"{page}/api/models?window=all&by=request") as answer:
        answer.raise_for_status()
        for model in (await answer.json())["models"]:
            if model["deployment"] == "sklearn" and model["model"] == "irisclassifier-default":
                return Counts(model["predictions"], model["judged"], model["correct"])
    return Counts()


async def added(before: Counts, page: str, session: aiohttp.ClientSession) -> Counts:
    """The increase of the counts, once all feedback is counted. TimeoutError after `_TIMEOUT`."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        increase = Counts(
            *(now - then for now, then in zip(await counts(page, session), before, strict=True))
        )
        if increase.predictions >= REQUESTS and increase.judged >= FEEDBACKS:
            return increase
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{page} does not show {FEEDBACKS} more judged after {_TIMEOUT:.0f} s")


async def main(events: str, page: str, token: str) -> None:
    """Serve the model, run the experiment, and print the counts."""
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
            correct = await experiment(model, iris, session)
            await server.logged()
            if server.dropped:
                sys.exit(f"{events} refused {server.dropped} events: {server.last_error}")
            increase = await added(before, page, session)
        print(
            f"{increase.correct} right of {increase.judged} judged of {increase.predictions} predicted"
        )
        if increase != (REQUESTS, FEEDBACKS, correct):
            sys.exit(f"the experiment has {correct} right of {FEEDBACKS}: is another one running?")
    finally:
        await runner.cleanup()


def addresses(events: str, page: str, settings: Settings) -> tuple[str, str]:
    """The addresses of the ingress and of the page: those given, or else those of the settings."""
    if not page and not settings.metrics_port:
        raise SettingsError("PROCESSOR_METRICS_PORT is 0, a free port: give --page")
    return events or local_ingress(settings), page or f"http://127.0.0.1:{settings.metrics_port}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.iris", description=__doc__)
    parser.add_argument(
        "--events", default="", help="address of the ingress (default: by PROCESSOR_INGRESS_PORT)"
    )
    parser.add_argument(
        "--page", default="", help="address of the page (default: by PROCESSOR_METRICS_PORT)"
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
