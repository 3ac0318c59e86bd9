"""The command ``processor topics``."""

from collections.abc import Iterable

import click
import yaml

from processor.kafka.provision import as_commands, as_strimzi, as_text, rights
from processor.kafka.topics import Topics, specs
from processor.settings import Settings


@click.command(
    epilog="\b\nExamples:\n"
    "  processor topics\n"
    "  processor topics --format commands --principal User:processor\n"
    "  processor topics --format strimzi --cluster my-cluster | kubectl apply -n kafka -f -"
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("text", "commands", "strimzi")),
    default="text",
    show_default=True,
    help="Tables, commands of Kafka's tools, or resources of Strimzi.",
)
@click.option(
    "--principal",
    default="User:feedback-metrics-processor",
    show_default=True,
    help="Who gets the rights; Strimzi: a user of that name, without 'User:'.",
)
@click.option("--cluster", default="my-cluster", show_default=True, help="Strimzi's Kafka cluster.")
def topics(style: str, principal: str, cluster: str) -> None:
    """Print the internal topics that the app needs on Kafka, and the rights, for their administrator.

    Asks no broker. The workers create the topics themselves unless PROCESSOR_CREATE_TOPICS is off.
    """
    settings = Settings.from_env()
    wanted = specs(settings, Topics.of(settings.app_id))
    granted = rights(settings.app_id, settings.topics, settings.create_topics)
    # Of three brokers, since none is asked.
    replication = settings.replication or 3
    in_sync = settings.min_insync_replicas or (2 if replication >= 3 else 1)
    lines: Iterable[str]
    if style == "text":
        lines = as_text(wanted, granted)
    elif style == "commands":
        servers = ",".join(settings.broker) or "localhost:9092"
        lines = as_commands(wanted, granted, replication, in_sync, principal, servers)
    else:
        user = principal.removeprefix("User:")
        made = as_strimzi(wanted, granted, replication, in_sync, user, cluster)
        lines = (yaml.safe_dump_all(made, sort_keys=False).rstrip(),)
    for line in lines:
        click.echo(line)
