"""Faust, imported without our command line: it reads options of its own from there (``--loop``)."""

import sys

_arguments, sys.argv = sys.argv, sys.argv[:1]
try:
    import faust
    from faust.transport.drivers import aiokafka as driver
finally:
    sys.argv = _arguments

__all__ = ["driver", "faust"]
