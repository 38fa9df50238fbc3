"""Names of the keys and switches that headsets, presenters, pedals and remotes have, as the kernel names them.

source: linux/input-event-codes.h; any other key is written as its number
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType

from shared.errors import ConfigError

KEYS: Mapping[str, int] = MappingProxyType(
    {
        "esc": 1, "1": 2, "2": 3, "3": 4, "4": 5, "5": 6, "6": 7, "7": 8, "8": 9, "9": 10, "0": 11, "backspace": 14,
        "tab": 15, "enter": 28, "a": 30, "b": 48, "c": 46, "space": 57, "f1": 59, "f2": 60, "f3": 61, "f4": 62,
        "f5": 63, "f6": 64, "f7": 65, "f8": 66, "f9": 67, "f10": 68, "f11": 87, "f12": 88, "home": 102, "up": 103,
        "pageup": 104, "left": 105, "right": 106, "end": 107, "down": 108, "pagedown": 109, "mute": 113,
        "volumedown": 114, "volumeup": 115, "power": 116, "menu": 139, "back": 158, "forward": 159, "nextsong": 163,
        "playpause": 164, "previoussong": 165, "stopcd": 166, "record": 167, "rewind": 168, "phone": 169,
        "homepage": 172, "playcd": 200, "pausecd": 201, "play": 207, "fastforward": 208, "camera": 212, "search": 217,
        "media": 226, "micmute": 248, "btn_0": 256, "btn_1": 257, "btn_2": 258, "btn_left": 272, "btn_right": 273,
        "btn_middle": 274, "btn_side": 275, "btn_extra": 276, "select": 353, "ok": 352, "voicecommand": 582,
    }
)  # fmt: skip
SWITCHES: Mapping[str, int] = MappingProxyType(
    {
        "lid": 0, "tablet_mode": 1, "headphone_insert": 2, "rfkill_all": 3, "microphone_insert": 4, "dock": 5,
        "lineout_insert": 6, "jack_physical_insert": 7, "videoout_insert": 8, "camera_lens_cover": 9,
        "keypad_slide": 10, "front_proximity": 11, "rotate_lock": 12, "linein_insert": 13, "mute_device": 14,
    }
)  # fmt: skip
MOST = 0x2FF
EV_KEY, EV_SW = 1, 5


def key_codes(names: Collection[str]) -> dict[tuple[int, int], str]:
    """(event type, code) → the name that the settings gave it. Raises: ConfigError naming the nearest known one."""
    found = {}
    for name in names:
        plain = name.lower().removeprefix("key_").removeprefix("sw_")
        if plain in SWITCHES:
            found[EV_SW, SWITCHES[plain]] = name
        elif plain in KEYS:
            found[EV_KEY, KEYS[plain]] = name
        elif plain.isascii() and plain.isdigit() and int(plain) <= MOST:
            found[EV_KEY, int(plain)] = name
        else:
            close = difflib.get_close_matches(plain, (*KEYS, *SWITCHES), n=1)
            hint = f"Did you mean {close[0]}?" if close else "Write the number that evtest prints for it."
            raise ConfigError(f"buttons.input_keys: there is no key {name!r:.40}.", hint=hint)
    return found
