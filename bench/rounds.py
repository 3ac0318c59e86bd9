"""Systems made ready and run in turn; what can't be had, or fails, is left out with its reason."""

from collections.abc import Sequence

from .filled import say
from .measure import BenchError, Job
from .peers.environment import PeerMissing
from .report import Results
from .systems import System

#: Without these there is nothing to compare: their failure ends the benchmark.
NEEDED = ("bare", "processor")


def prepare(systems: Sequence[System], results: Results) -> None:
    """Fetch what they need, before anything is timed."""
    for system in systems:
        try:
            if system.prepare is not None:
                system.prepare()
        except PeerMissing as error:
            _leave_out(results, system, f"not installed: {error}", str(error))


def run(system: System, job: Job, results: Results) -> bool:
    """Add its run to the last round; False if it failed. A needed one raises its BenchError."""
    number = len(results.rounds)
    try:
        found = system.run(job)
    except BenchError as error:
        if system.name in NEEDED:
            raise
        first_line = str(error).partition("\n")[0].replace("|", "/")
        _leave_out(results, system, f"failed in round {number}: {first_line}", str(error))
        return False
    results.rounds[-1][system.name] = found
    say(f"round {number}: {system.name} {found.rate:,.0f} events/s")
    return True


def _leave_out(results: Results, system: System, reason: str, whole: str) -> None:
    results.left_out[system.name] = reason
    say(f"{system.name} left out: {whole}")
