"""python -m device.sentinel.trial: one sound by the sentinel's own way to the sound card, for the selftest.

Exit status: 0 = an output took it to its end, 1 = none did (stderr says why).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from device.sentinel import alsa, settings, sounds
from device.sentinel.player import complain
from device.sentinel.watch import Saying
from shared.errors import MediaError


def main(config: Path | None, output: str) -> int:
    """config: the agent's settings, which need not be readable; they count where `output` is empty."""
    chosen = settings.read(config)
    wanted = output or chosen.output or chosen.voice_output
    try:
        alsa.play(alsa.library(), sounds.tones(sounds.TONES[Saying.BACK]), wanted)
    except (alsa.OutputBusy, MediaError) as error:
        complain(str(error))
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m device.sentinel.trial", description="One sound, for the selftest.")
    top.add_argument("--config", type=Path, metavar="FILE", help="the agent's settings")
    top.add_argument("--output", default="", metavar="NAME", help="ALSA output (sentinel.output)")
    return top


if __name__ == "__main__":
    arguments = parser().parse_args()
    sys.exit(main(arguments.config, arguments.output))
