"""The parts of a service that both of its modes start from."""

from collections.abc import Callable
from typing import NamedTuple

from processor.domain.model_rules import ModelRules
from processor.publish.interfaces import WorkerView
from processor.service.health import ServiceHealth
from processor.settings import Settings
from processor.telemetry import Telemetry


class Parts(NamedTuple):
    """The parts of a service that a `Mode` starts from; ``fail`` ends the process with an error."""

    settings: Settings
    rules: ModelRules
    telemetry: Telemetry
    health: ServiceHealth
    view: WorkerView
    fail: Callable[[BaseException], None]
