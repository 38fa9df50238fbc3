"""No library reports home: switches that must be set before the library is imported.

onnxruntime from 1.29 on writes a persistent device id and an upload queue into the cache folder and looks its event
host up at every run, unless ORT_DISABLE_TELEMETRY is set when its library is loaded; `disable_telemetry_events` comes
too late for that. huggingface_hub counts downloads and reports versions. Each top-level package calls this in
its `__init__`, so that no order of imports comes first; child processes inherit it, and the systemd units set it too.

source: onnxruntime pull request 27379; huggingface_hub's environment variables
"""

from __future__ import annotations

import os

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def stop_telemetry() -> None:
    """Set every switch for this process and its children, whatever the environment says."""
    os.environ.update(SWITCHES)
