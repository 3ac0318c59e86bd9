"""Fixtures: workers as a user starts them, and ways to look at them."""

from tests.support.archives.app import app
from tests.support.workers import client, get, start

__all__ = ["app", "client", "get", "start"]
