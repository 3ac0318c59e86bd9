"""The command ``processor send``."""

import asyncio
import os
import sys

import click

from processor.cli.options import INTERRUPTED, run_until_stopped
from processor.errors import EventsFileError, SettingsError
from processor.kafka.clients import kafka_options
from processor.logs import set_up_logs
from processor.replay.send import Sent, local_ingress, send_http, send_kafka
from processor.setting_values import HTTP
from processor.settings import Settings
from processor.tls import client_context

#: Seconds within which `send` ends when it is stopped, whatever its client waits for.
_MAX_SEND_END = 0.9


@click.command(
    epilog="\b\nExamples:\n"
    "  processor send events.ndjson\n"
    "  processor send events.ndjson --to http://host:8080/ --rate 100\n"
    "  processor send events.ndjson --to kafka:my-topic --loop"
)
@click.argument("file")
@click.option("--to", "target", default="", help="http(s)://host:port/ or kafka:TOPIC.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second.")
@click.option("--loop", is_flag=True, help="Start again at the end, until Ctrl-C.")
def send(file: str, target: str, rate: float | None, loop: bool) -> None:
    """Play an events file to an ingress (default: the local one) or a Kafka topic.

    For an ingress with TLS it presents the certificate PROCESSOR_INGRESS_CERT (with _KEY) and trusts
    the authority PROCESSOR_INGRESS_CA.
    """
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format, libraries="CRITICAL")
    target = target or local_ingress(settings)
    stopped = False

    async def play(stop: asyncio.Event) -> Sent:
        sent = await play_to(target, stop)
        nonlocal stopped
        stopped = stop.is_set()
        return sent

    async def play_to(target: str, stop: asyncio.Event) -> Sent:
        if target.startswith("kafka:"):
            if not settings.broker:
                raise SettingsError("PROCESSOR_BROKER is empty: set it to kafka://host:port")
            options = kafka_options(settings)
            topic = target.removeprefix("kafka:")
            return await send_kafka(file, settings.broker, topic, rate, loop, options, stop=stop)
        if not target.startswith(HTTP):
            raise click.BadParameter(
                f"{target!r} is neither http(s)://... nor kafka:TOPIC", param_hint="--to"
            )
        tls = None
        if target.startswith("https:"):
            tls = client_context(
                *("PROCESSOR_INGRESS", settings.ingress_ca),
                *(settings.ingress_cert, settings.ingress_key),
            )
        token = str(settings.ingress_token)
        return await send_http(file, target, rate, loop, token=token, tls=tls, stop=stop)

    sent: Sent = run_until_stopped(play, within=_MAX_SEND_END)
    refused = ", ".join(f"{n} {reason}" for reason, n in sent.refused.items()) or "none"
    click.echo(
        f"{'stopped: ' if stopped else ''}{sent.accepted} of {sent.read} accepted in "
        f"{sent.seconds:.1f} s; refused: {refused}"
    )
    if stopped and not loop:
        sys.stdout.flush()
        # A thread that still waits for standard input would make Python abort at its regular exit.
        os._exit(INTERRUPTED)
    if not (sent.read or stopped):
        raise EventsFileError(f"{file} holds no events")
    if sent.refused:
        raise click.exceptions.Exit(1)
