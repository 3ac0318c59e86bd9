"""The compiled part, where there is one: it does what is usual at speed, and all else is left to the
Python beside it, which by itself does the same."""

import os

try:
    from processor import _native as native
except ImportError:  # installed without a Rust compiler
    native = None  # type: ignore[assignment]

#: Whether the compiled part is there and wanted.
use_native = native is not None and os.environ.get("PROCESSOR_COMPILED", "auto") != "off"

__all__ = ["native", "use_native"]
