"""The feedback experiment of Seldon Core's notebook with a current stack."""
