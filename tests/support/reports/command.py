"""Run the command line in a process."""

import os
import subprocess
import sys
from pathlib import Path


def processor(*arguments: str | Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run ``processor`` with arguments; settings are given as ``archive="http://..."``."""
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "processor", *arguments],
        env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def output_of(*arguments: str | Path, **settings: str) -> str:
    """The stdout of a command, which must succeed."""
    ran = processor(*arguments, **settings)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
