"""The worker: ingest of the source, the folds of both logs on a Faust app, and their checkpoints."""
