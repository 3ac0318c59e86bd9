"""Workers for the commands of the documentation."""

from tests.integration.conftest import get, start

__all__ = ["get", "start"]
