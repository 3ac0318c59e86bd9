"""Faust, imported without our command line: it reads options of its own from there (``--loop``)."""

import sys

_arguments, sys.argv = sys.argv, sys.argv[:1]
try:
    import faust
finally:
    sys.argv = _arguments

__all__ = ["faust"]
