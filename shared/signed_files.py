"""Names and size limits of signed release metadata (TUF, consistent snapshots). Both sides hold to them.

<n>.root.json        who may sign what; signed by the root key, which is kept offline
timestamp.json       the newest snapshot; signed anew every few days
<n>.snapshot.json    the newest targets
<n>.targets.json     the models, and which devices each is for
"""

from __future__ import annotations

import re

from shared.errors import MessageError

MAX_FILES = 260  # timestamp, snapshot, targets, and up to 256 roots for a device that slept through their changes
LIMITS_BYTES = {
    "root": 64 * 1024,  # a real one has 2 KB
    "timestamp": 16 * 1024,  # 0.5 KB
    "snapshot": 16 * 1024,  # 0.5 KB
    "targets": 1024 * 1024,  # 0.4 KB per model, 19 bytes per device that is named
}
_NAME = re.compile(r"(?:(timestamp)|[1-9][0-9]{0,15}\.(root|snapshot|targets))\.json\Z")


def limit_bytes(name: str) -> int:
    """The largest size in bytes at which a file of this name is read. Raises: MessageError for any other name."""
    match = _NAME.match(name)
    if match is None:
        raise MessageError(f"{name[:60]!r} is not a file of release metadata.")
    return LIMITS_BYTES[match[1] or match[2]]
