"""How a Pi camera is set for a walk. Pure: what libcamera offers in, what is asked of it out.

- Exposure: AeExposureMode Short. In Raspberry Pi's tunings it raises the gain first and keeps the shutter at or below
  10 ms while a gain of 4 is enough, where the normal one goes to 30 ms. A chest that turns by 30 degrees a second
  smears 30 ms over nine pixels of 640. Grain costs a detector less than smear.
- At night the shutter is bounded by the time between two pictures, which is fixed: pictures get dark, they never get
  rarer. That it is too dark is said by the agent (shared.lens).
- Focus: fixed. A lens that hunts shows nothing meanwhile. At half a dioptre (2 m) pictures of 640 pixels are sharp
  from 0.8 m to infinity, by the depth of field of a Camera Module 3.
- HDR off: it merges exposures between which a walker moves.
- Noise reduction fast: the slow one costs time per picture.

Ints are the values of libcamera's enums (control_ids_core.yaml, control_ids_draft.yaml), which it takes for them. A
control that is not offered, such as focus on a lens that has none, is left alone: picamera2 raises for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPOSURE_SHORT = 1
FOCUS_MANUAL = 0
HDR_OFF = 0
NOISE_FAST = 1
FOCUS_DIOPTRES = 0.5

Offered = Mapping[str, tuple[Any, Any, Any]]
"""Name → least, most, default: Picamera2.camera_controls."""


def for_walking(offered: Offered, *, fps: float) -> dict[str, Any]:
    """The controls of a video configuration. fps: pictures a second, as many as the sensor's mode gives at most."""
    wanted: dict[str, Any] = {
        "AeExposureMode": EXPOSURE_SHORT,
        "HdrMode": HDR_OFF,
        "NoiseReductionMode": NOISE_FAST,
        "AfMode": FOCUS_MANUAL,
    }
    controls = {name: value for name, value in wanted.items() if name in offered}
    if "FrameDurationLimits" in offered:  # no USB camera behind libcamera has it
        controls["FrameRate"] = fps
    if "AfMode" in controls and "LensPosition" in offered:
        least, most, _ = offered["LensPosition"]
        controls["LensPosition"] = min(max(FOCUS_DIOPTRES, float(least)), float(most))
    return controls
