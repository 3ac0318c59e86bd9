"""Workers for the commands of the documentation."""

from tests.support.workers import get, start

__all__ = ["get", "start"]
