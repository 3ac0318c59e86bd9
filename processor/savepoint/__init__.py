"""Savepoints: the state of an app in a file, from which another app goes on."""
