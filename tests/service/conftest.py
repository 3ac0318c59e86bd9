"""Fixtures: workers as a user starts them, and ways to look at them."""

from tests.support.workers import get, start

__all__ = ["get", "start"]
