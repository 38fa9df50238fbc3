"""What the sentinel needs of the settings, read so that no slip in them keeps it from starting.

The agent refuses settings that are wrong (device.config), and ends. The sentinel then is the only voice left: whatever
cannot be read keeps its default here.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value", str, float)
LIVE, ALWAYS, NEVER = "live", "always", "never"


@dataclass(frozen=True, slots=True)
class SentinelSettings:
    """The settings of the same names: sentinel.when, sentinel.output, sentinel.heartbeat_every_s, voice.output,
    voice.speech, voice.server, tactile.motors, capture.source, capture.pace."""

    when: str = LIVE
    output: str = ""
    heartbeat_every_s: float = 0.0
    voice_output: str = ""
    speech: str = "speakers"
    source: str = "camera:0"
    pace: str = "real"
    server: str = ""
    motors: str = "none"

    @property
    def on(self) -> bool:
        """Whether a sentinel watches. A replay as fast as possible, or one that nobody hears, has none; a walk that is
        felt without speech has one, which speaks."""
        felt = self.speech == "none" and self.motors != "none"
        if (
            self.when == NEVER
            or not (self.speech == "speakers" or felt)
            or self.pace != "real"
            or self.source == "none"
        ):
            return False
        return self.when == ALWAYS or not self.source.startswith("replay:")


def read(path: Path | None) -> SentinelSettings:
    """Raises nothing."""
    try:
        raw = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raw = {}
    default = SentinelSettings()
    return SentinelSettings(
        when=_value(raw, "sentinel", "when", default.when),
        output=_value(raw, "sentinel", "output", default.output),
        heartbeat_every_s=_value(raw, "sentinel", "heartbeat_every_s", default.heartbeat_every_s),
        voice_output=_value(raw, "voice", "output", default.voice_output),
        speech=_value(raw, "voice", "speech", default.speech),
        server=_value(raw, "voice", "server", default.server),
        motors=_value(raw, "tactile", "motors", default.motors),
        source=_value(raw, "capture", "source", default.source),
    )


def _value(raw: dict[str, Any], section: str, key: str, default: Value) -> Value:
    table = raw.get(section)
    value: object = table.get(key, default) if isinstance(table, dict) else default
    if isinstance(value, int) and isinstance(default, float):
        return float(value)
    return value if isinstance(value, type(default)) else default
