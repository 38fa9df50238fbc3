"""What libasound writes to stderr by itself: each kind of line once.

A sound output that stutters makes it write "underrun occurred" up to a hundred times a second. As a service that is the
journal on the memory card: journald then drops lines of the unit, and among them those that matter. Seen under systemd
on a busy machine: 6091 lines suppressed in 30 s.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Any

logger = logging.getLogger(__name__)

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
"""snd_lib_error_handler_t without its variable arguments: file, line, function, error, format."""
_told: set[bytes] = set()


def _once(_file: bytes, _line: int, function: bytes, _error: int, form: bytes) -> None:
    if form not in _told:
        _told.add(form)
        logger.warning("ALSA: %s: %s", function.decode(errors="replace"), form.decode(errors="replace").strip())


_handler: Any = _Handler(_once)  # kept for as long as the library may call it


def each_kind_once() -> None:
    """For this process; may be called again. Nothing where there is no ALSA."""
    try:
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_handler)
    except (OSError, AttributeError):
        return
