"""Helpers for tests of reports: events of made-up models, and the command line."""
