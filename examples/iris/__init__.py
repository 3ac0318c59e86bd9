"""The feedback experiment of Seldon Core's notebook, for today."""
