"""From the archive to the log and back: bootstrap, late feedback, outcomes, the request logger."""
