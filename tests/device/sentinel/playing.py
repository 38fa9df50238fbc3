"""A player in a process of its own, as the sentinel has it: FOLDER OUTPUT SAYING TIMES AGAIN.

libpulse refuses to work in the fork of a process that had loaded it, which the tests' own process may have. Prints
JSON: `heard` of the last sound, which is tried AGAIN so often while it is not heard, `begun` and `left`: processes of
sounds, at once and at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from device.sentinel import sounds
from device.sentinel.board import OUTPUT
from device.sentinel.player import Player
from device.sentinel.watch import Played, Saying
from shared.clock import SystemClock
from tests.pulse import until


def children() -> int:
    """How many processes this one started and has not reaped."""
    tasks = Path("/proc/self/task").glob("*/children")
    return sum(len(task.read_text().split()) for task in tasks)


def main(folder: str, output: str, saying: str, times: str, again: str) -> None:
    player = Player(sounds.load(Path(folder)), output, SystemClock(), told=Path(folder) / OUTPUT)
    player.prepare()
    for _ in range(int(times)):
        player.play(Saying(saying))
    begun, ended = children(), list[Played]()

    def over() -> bool:
        done = player.poll()
        ended.extend([] if done is None else [done])
        return bool(ended)

    until(over, "the end of a sound")
    for _ in range(int(again)):
        if not ended[0].heard:
            ended.clear()
            player.play(Saying(saying))
            until(over, "the end of a sound")
    until(lambda: player.poll() is None and not children(), "none of its processes")
    print(json.dumps({"heard": ended[0].heard, "begun": begun, "left": children()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
