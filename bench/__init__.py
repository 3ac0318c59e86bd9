"""The benchmark: the processor, a naive Faust app and a bare read loop on one load."""
