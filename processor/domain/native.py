"""The native extension, if it is installed: it handles the common case of decoding and joining fast.

Everything else is handed back to the Python code beside it, which gives the same results by itself.
"""

import os

try:
    from processor import _native as native
except ImportError:  # installed without a Rust compiler
    native = None  # type: ignore[assignment]

#: Whether the native extension is installed and not switched off.
use_native = native is not None and os.environ.get("PROCESSOR_COMPILED", "auto") != "off"

__all__ = ["native", "use_native"]
