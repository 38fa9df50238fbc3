"""python -m device.sentinel: watches the agent by its record on the board, and says so when it no longer guides.

A thin loop around device.sentinel.watch. As a service it is started before the agent and outlives it; by hand the agent
starts it, and it ends after the agent has.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from device.sentinel import settings, sounds, watch
from device.sentinel.board import OUTPUT, SPEECH, Board, SentinelRecord, started
from device.sentinel.player import Player, complain
from device.sentinel.watch import AgentView, BoardRead, Quit, SentinelAction, SentinelEvent, SupervisorAnswered
from shared.clock import Clock, SystemClock

EVERY_S = 0.1
RELOAD_EVERY_S = 1.0
ASK_TIMEOUT_S = 3.0
LAST_S = 4.0
"""To say what it began to say, once it is told to end: systemd stops it right after the agent. TimeoutStopSec is 5."""
OK, USAGE, SWITCHED_OFF = 0, 2, 3
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def parser() -> argparse.ArgumentParser:
    """As a service, and as the agent starts it."""
    top = argparse.ArgumentParser(
        prog="python -m device.sentinel",
        description="Says so when the agent no longer guides. Started by its unit, or by waycue-device run.",
    )
    add = top.add_argument
    add("--board", type=Path, required=True, metavar="FILE", help="the page that it shares with the agent")
    add("--speech", type=Path, required=True, metavar="DIR", help="its sentences, rendered by the agent")
    add("--config", type=Path, metavar="FILE", help="the agent's settings")
    add("--unit", default="", metavar="UNIT", help="the agent's unit, which systemd starts again")
    add("--user", action="store_true", help="the unit is one of this user's own systemd")
    add("--output", metavar="NAME", help="ALSA output (sentinel.output)")
    add("--heartbeat-every-s", type=float, metavar="N", help="a tick this often (sentinel.heartbeat_every_s)")
    return top


class Supervisor:
    """What systemd says of the agent's unit, asked by a process of its own: the bus may hang."""

    def __init__(self, unit: str, clock: Clock, *, of_user: bool = False) -> None:
        self._unit = unit
        self._systemctl = ["systemctl", "--user"] if of_user else ["systemctl"]
        self._clock = clock
        self._asking: subprocess.Popen[bytes] | None = None
        self._since_s = 0.0

    def ask(self) -> None:
        if self._asking is not None:
            return
        command = [*self._systemctl, "show", "--property=ActiveState,ExecMainPID", self._unit]
        try:
            self._asking = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._since_s = self._clock.monotonic_s()
        except OSError as error:
            complain(f"systemd cannot be asked: {error}")

    def poll(self) -> SupervisorAnswered | None:
        asking = self._asking
        if asking is None:
            return None
        if asking.poll() is None:
            if self._clock.monotonic_s() - self._since_s > ASK_TIMEOUT_S:
                asking.kill()
            return None
        self._asking = None
        said = asking.communicate()[0].decode(errors="replace")
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        pid = values.get("ExecMainPID", "")
        return SupervisorAnswered(values.get("ActiveState") == "failed", int(pid) if pid.isdigit() else None)


class Sentinel:
    """`run` it; `stop` it from a signal handler."""

    def __init__(
        self, board: Board, player: Player, limits: watch.WatchLimits, *, supervisor: Supervisor, clock: Clock
    ) -> None:
        self._board = board
        self._player = player
        self._limits = limits
        self._clock = clock
        self._supervisor = supervisor
        self._stop = False
        self._speech_of_ns, self._reload_s = 0, 0.0
        self._state = watch.begin(clock.monotonic_s(), self._view())

    def stop(self) -> None:
        self._stop = True

    def run(self) -> None:
        while not self._stop:
            self._round()
            self._reload()
            self._clock.sleep(EVERY_S)
        self._round()  # the agent may have ended since the last one
        last_s = self._clock.monotonic_s() + LAST_S
        while self._player.until_s and self._clock.monotonic_s() < last_s:
            self._clock.sleep(EVERY_S)
            self._player.poll()
        self._player.stop()

    def _round(self) -> None:
        for event in (self._player.poll(), self._supervisor.poll(), BoardRead(self._view())):
            if event is not None:
                self._deal_with(event)
        self._tell()

    def _view(self) -> AgentView | None:
        record = self._board.agent()
        return None if record is None else AgentView(record, started(record.pid) == record.started)

    def _deal_with(self, event: SentinelEvent) -> None:
        self._state, actions = watch.step(self._state, event, self._clock.monotonic_s(), self._limits)
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: SentinelAction) -> None:
        match action:
            case watch.Play(saying):
                if saying in watch.WORDS:
                    complain(f"says {watch.WORDS[saying]!r} ({watch.told(self._state, self._view(), self._limits)})")
                self._player.play(saying)
            case watch.AskSupervisor():
                self._supervisor.ask()
            case watch.KillAgent(pid):
                self._kill(pid)
            case Quit():
                self._stop = True

    def _kill(self, pid: int) -> None:
        view = self._view()
        if view is not None and view.record.pid == pid and view.exists:
            complain(f"the agent, process {pid}, hangs and holds the sound output: it is killed")
            os.kill(pid, signal.SIGKILL)

    def _tell(self) -> None:
        now_s = self._clock.monotonic_s()
        alarmed, asks_back = self._state.alarm is not None, self._state.asks_back
        self._board.write_sentinel(SentinelRecord(os.getpid(), alarmed, asks_back, now_s, self._player.until_s))

    def _reload(self) -> None:
        """Take the sentences that the agent has rendered since. The folder is in memory: no card can hold this up."""
        now_s = self._clock.monotonic_s()
        if now_s < self._reload_s:
            return
        self._reload_s = now_s + RELOAD_EVERY_S
        folder = self._board.path.parent / SPEECH
        try:
            changed_ns = folder.stat().st_mtime_ns
        except OSError:
            return
        if changed_ns != self._speech_of_ns:
            self._speech_of_ns, self._player.sounds = changed_ns, sounds.load(folder)


def keep_in_memory() -> None:
    """Keep what it has touched in memory: a stalled card must not hold it up at the next page. Only where it is allowed
    to lock all it likes: with a bound, later allocations would fail."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 2 for wrong use, 3 where it is switched off."""
    arguments = parser().parse_args(argv)
    chosen = settings.read(arguments.config)
    if arguments.config is not None and not chosen.on:
        complain("switched off by the settings")
        return SWITCHED_OFF
    heartbeat_s = chosen.heartbeat_every_s if arguments.heartbeat_every_s is None else arguments.heartbeat_every_s
    output = chosen.output or chosen.voice_output if arguments.output is None else arguments.output
    clock = SystemClock()
    try:
        board = Board(arguments.board)
    except OSError as error:
        complain(f"{arguments.board} cannot be used: {error}")
        return USAGE
    if chosen.server:
        os.environ["PULSE_SERVER"] = chosen.server
    told = None if chosen.output else arguments.board.parent / OUTPUT
    player = Player(sounds.load(arguments.speech), output, clock, told=told)
    player.prepare()
    keep_in_memory()
    limits = watch.WatchLimits(supervised=bool(arguments.unit), heartbeat_every_s=heartbeat_s)
    supervisor = Supervisor(arguments.unit, clock, of_user=arguments.user)
    sentinel = Sentinel(board, player, limits, supervisor=supervisor, clock=clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sentinel.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sentinel.run()
    return OK
