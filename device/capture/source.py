"""Where pictures and sound come from: one contract, whatever is behind it.

Every source keeps these rules (tests/device/capture/contract.py holds all of them to it):

- `open` once, then `read` until `ended`, then `close`; `close` may come at any time, more than once, and never hangs.
- Times are seconds on the source's own clock and start near 0. Pictures never go back in time, nor does sound.
- Across the two a replay is in strict time order. A live source hands a picture out the moment it is there, and
  sound may trail it by at most SOUND_TRAILS_S: to wait for the sound card would delay the warning.
- `health` has every part, the picture first. A live source ends only by being closed.
- Pictures are RGB, uint8, upright. Sound is 16 kHz, mono, int16.
- `read` gives None when nothing came within its timeout. A camera that hangs makes `read` give None and `healthy`
  false; it never makes `read` hang.
- MediaError says what is wrong with which file or device, and what to do. After `open` no source raises it: what
  cannot be read is skipped and counted. A live source whose `open` raised it goes on trying until `close`, and `read`
  gives what comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError

BLOCK_SAMPLES = 800  # 50 ms: short beside the 2 s of a chunk, and only 20 reads a second
SOUND_TRAILS_S = 0.5

Pace = Literal["real", "fast"]
Kind = Literal["picture", "sound"]


class SeveralCameras(MediaError):
    """Several cameras are there where one is meant."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    image: NDArray[np.uint8]
    """[height, width, 3] RGB, upright."""
    t_s: float
    """Seconds on the source clock."""
    dropped_before: int = 0
    """Pictures lost between the one before and this one, because nobody fetched them in time."""
    taken_s: float | None = None
    """Monotonic time of the shutter, as near to it as the source knows; in a replay in real time, when the picture was
    due; None = a replay as fast as possible."""
    fov_deg: float | None = None
    """What it shows from the left to the right edge, where the camera knows."""
    newest: VideoFrame | None = None
    """The newest picture that waits behind this one, after a pause of the agent: the one to look at now, while this one
    is still for the recorder; None = there is no newer one."""


@dataclass(frozen=True, slots=True, eq=False)
class SoundBlock:
    samples: NDArray[np.int16]
    """int16 [n] mono, shared.chunk_format.SAMPLE_RATE_HZ."""
    t_s: float
    """Of the first sample, in seconds on the source clock."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    name: str
    width_px: int
    """Of the upright picture; 0 = no picture."""
    height_px: int
    fps: float
    has_sound: bool
    duration_s: float | None
    """None = not known, or it goes on until stopped."""
    live: bool

    @property
    def has_picture(self) -> bool:
        """False: there is only sound, and nothing to guide by."""
        return self.width_px > 0


@dataclass(frozen=True, slots=True)
class PartHealth:
    name: str
    kind: Kind
    healthy: bool
    restarts: int
    trouble: str
    """What went wrong last, for a log or a caregiver; "" = nothing yet. Kept when it is well again."""
    given_up: bool = False
    """Nothing here brings it back: only another start of the agent does."""
    several: bool = False
    """There are several cameras, and which of them is meant is not guessed."""


class Source(Protocol):
    """See the rules above."""

    def open(self) -> SourceInfo:
        """Start. Raises: MediaError when there is nothing to read from."""
        ...

    def read(self, timeout_s: float) -> VideoFrame | SoundBlock | None:
        """The next item, or None when there was none within `timeout_s` seconds or the source has ended."""
        ...

    @property
    def ended(self) -> bool: ...

    @property
    def health(self) -> tuple[PartHealth, ...]: ...

    @property
    def healthy(self) -> bool: ...

    @property
    def frames_dropped(self) -> int:
        """Pictures lost so far because nobody fetched them in time."""
        ...

    def close(self) -> None:
        """Stop and let go of the device or file. May be called again; never hangs."""
        ...
