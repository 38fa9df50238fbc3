"""waycue-device as people start it: a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.boot import kernel_boot
from device.commands import selftest
from device.commands.check_result import CheckResult
from device.commands.main import lines, main
from device.health import status
from server.broker.child import BrokerChild
from shared import file_lock
from shared.clock import ManualClock, SystemClock
from tests.device.agent.stage import config, film, presses
from tests.device.capture import films
from tests.device.voice.speech import needs_espeak
from tests.pulse import PulseChild, until


def arguments(folder: Path, walk: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "device",
        "run",
        "--source",
        f"replay:{walk}",
        "--state",
        str(folder / "state"),
        "--device",
        "dev-1",
        "--speech",
        "none",
        "--report",
        str(folder / "report.json"),
        *more,
    ]


@contextmanager
def started(folder: Path, command: list[str], **env: str) -> Iterator[subprocess.Popen[str]]:
    """The process; killed when the block ends, if it is still there."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_replay_ends_with_status_zero_a_report_and_captions_on_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        arguments(tmp_path, film(tmp_path), "--pace", "fast", "--exit-at-end"),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "No model. Recording only." in done.stdout
    assert json.loads((tmp_path / "report.json").read_bytes())["chunks"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_walk_and_loses_nothing(tmp_path: Path, number: signal.Signals) -> None:
    script = presses(tmp_path, {"t_s": 0.5, "action": "flag"}, {"t_s": 0.6, "action": "hold", "until_s": 50.0})
    walk = film(tmp_path, 60.0)
    with started(tmp_path, arguments(tmp_path, walk, "--buttons", str(script))) as child:
        state = tmp_path / "state" / "status.json"
        until(lambda: state.exists() and json.loads(state.read_bytes())["walk_s"] > 1.5, "a second of walk")
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, ""), out
    sealed = [json.loads(path.read_bytes()) for path in (tmp_path / "state" / "outbox").glob("*/record.json")]
    assert [record["kind"] for record in sealed].count("correction") == 1
    flagged = next(record["body"] for record in sealed if record["body"].get("sequence") == 0)
    assert flagged["flags"][:2] == ["wearer", "correction"]  # a third may be "audit": one chunk in twenty


def walk_to_press(folder: Path) -> list[str]:
    """The wearer presses at half a second; the chunk is open for a while after that."""
    script = presses(folder, {"t_s": 0.5, "action": "flag"})
    return arguments(folder, film(folder, 60.0), "--buttons", str(script))


def walked_s(folder: Path) -> float:
    state = folder / "state" / "status.json"
    return float(json.loads(state.read_bytes())["walk_s"]) if state.exists() else 0.0


def kept(folder: Path) -> list[int]:
    """Sequences of the chunks that the wearer kept; one chunk in twenty is kept as a sample as well."""
    bodies = [json.loads(p.read_bytes())["body"] for p in (folder / "state" / "outbox").glob("*/record.json")]
    return [body["sequence"] for body in bodies if "wearer" in body["flags"]]


@pytest.mark.parametrize("how", ["hangup", "quit", "closed"])
def test_a_terminal_that_hangs_up_quits_or_is_closed_ends_the_walk_and_loses_nothing(tmp_path: Path, how: str) -> None:
    command = walk_to_press(tmp_path)
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    try:
        until(lambda: drained(terminal) and walked_s(tmp_path) > 0.8, "the press")
        if how == "closed":
            os.close(terminal)
        else:
            os.kill(child, signal.SIGHUP if how == "hangup" else signal.SIGQUIT)
        ended: list[int] = []
        until(lambda: bool(ended or ((how == "closed" or drained(terminal)) and reaped(child, ended))), "the end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert os.WIFEXITED(ended[0])
    assert kept(tmp_path) == [0]
    assert (tmp_path / "report.json").exists()
    assert not (tmp_path / "state" / "status.json").exists()


def drained(terminal: int) -> bool:
    """A terminal that nobody reads would stop the program. Always True."""
    while select.select([terminal], [], [], 0)[0]:
        try:
            os.read(terminal, 65536)
        except OSError:
            return True
    return True


def reaped(child: int, ended: list[int]) -> bool:
    done, code = os.waitpid(child, os.WNOHANG)
    if done:
        ended.append(code)
    return bool(done)


def test_a_pipe_that_nobody_reads_any_more_does_not_end_the_walk_and_nothing_is_lost(tmp_path: Path) -> None:
    with started(tmp_path, walk_to_press(tmp_path)) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stderr.close()
        until(lambda: walked_s(tmp_path) > 3.0, "the walk to go on")
        child.terminate()
        assert child.wait(60) in (0, 120)  # 120: Python could not flush what nobody reads
    assert kept(tmp_path) == [0]


@pytest.mark.parametrize("command", [["device", "--help"], ["device", "status"], ["server", "stats"]])
def test_ctrl_c_while_a_command_starts_ends_it_without_a_traceback(tmp_path: Path, command: list[str]) -> None:
    """At several moments of the first seconds, most of them within the imports."""
    module = f"{command[0]}.commands.main"
    entry = [sys.executable, "-c", f"import sys; sys.argv[1:] = {command[1:]}\n" + ENTRY.format(module=module)]
    for after_s in (0.1, 0.25, 0.6):
        child = subprocess.Popen(entry, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "began\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(after_s)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert child.returncode != 0 or "stopped" not in err


ENTRY = """
print("began", flush=True)
from {module} import main
status = main()
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(status)
"""
"""As the console script does it."""


def test_systemd_is_told_ready_alive_on_progress_and_stopping(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(address)
        supervisor.settimeout(60)
        with started(tmp_path, arguments(tmp_path, film(tmp_path, 60.0)), NOTIFY_SOCKET=address) as child:
            heard = [supervisor.recv(200).decode()]
            while heard.count("WATCHDOG=1") < 3:
                heard.append(supervisor.recv(200).decode())
            child.terminate()
            while heard[-1] != "STOPPING=1":
                heard.append(supervisor.recv(200).decode())
            child.communicate(timeout=60)
    assert next(line for line in heard if not line.startswith("STATUS=")) == "READY=1"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--source", "replay:/nothing.mp4"], 1, "/nothing.mp4"),
        (["--source", "film"], 2, "There is no source 'film'"),
        (["--broker", "a b"], 2, "HOST:PORT"),
        (["--source", "camera:0", "--pace", "fast"], 2, "for a replay"),
        (["--model", "/nothing"], 1, "/nothing"),
        (["--config", "/nothing.toml"], 2, "/nothing.toml"),
    ],
)
def test_what_is_wrong_is_said_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: list[str], code: int, message: str
) -> None:
    assert main([*arguments(tmp_path, film(tmp_path))[3:], "--quiet", "--exit-at-end", *more]) == code
    err = capfd.readouterr().err
    assert err.startswith("waycue-device: ")
    assert message in err
    assert "Traceback" not in err


def test_status_tells_of_a_running_agent_and_says_when_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["status", "--state", str(tmp_path / "state")]
    assert main(ask) == 1
    assert "Not running" in capsys.readouterr().out
    with started(tmp_path, arguments(tmp_path, film(tmp_path, 60.0))) as child:
        until(lambda: (tmp_path / "state" / "status.json").exists(), "the status file")
        assert main(ask) == 0
        shown = capsys.readouterr().out
        assert "dev-1: running" in shown
        assert "guidance: no model" in shown
        assert main([*ask, "--json"]) == 0
        value = json.loads(capsys.readouterr().out)
        assert (value["running"], value["walking"], value["device"]) == (True, True, "dev-1")
        child.terminate()
        child.communicate(timeout=60)
    assert main([*ask, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": False}


def test_a_status_that_is_old_or_of_another_boot_is_not_running(tmp_path: Path) -> None:
    fresh = status.DeviceStatus(
        device="dev-1",
        kernel_boot=kernel_boot(),
        updated_s=100.0,
        pid=1,
        agent_version="1",
        uptime_s=1.0,
        source="camera:0",
        walking=True,
        walk_s=1.0,
        guidance="guiding",
        model_version="m",
        model_state="idle",
        last_said="",
        looks=1,
        chunks=1,
        flagged=0,
        not_kept=0,
        online=False,
        broker="",
        queued=0,
        queued_bytes=0,
        failed=0,
        troubles=("Storage full.",),
    )
    status.write(tmp_path, fresh)
    assert status.read(tmp_path, ManualClock(105.0)) == fresh
    assert status.read(tmp_path, ManualClock(111.0)) is None
    assert status.read(tmp_path, ManualClock(50.0)) is None
    assert lines(fresh)[-1] == "trouble: Storage full."
    assert not any(line.startswith("power:") for line in lines(fresh))
    warm = dataclasses.replace(fresh, battery_percent=47.4, battery_minutes=95.0, low_voltage=True, heat_c=71.2)
    assert "power: battery 47 %, 95 min left, too little voltage, 71 °C" in lines(warm)


def findings(folder: Path, *only: str, **overrides: object) -> dict[str, CheckResult]:
    chosen = config(folder, film(folder, 1.0), capture__pace="real", **overrides)
    return {finding.name: finding for finding in selftest.selftest(chosen, SystemClock(), only=only)}


def test_the_selftest_of_a_replay_without_a_model_finds_just_that(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert list(found) == list(selftest.CHECKS)
    assert [name for name, finding in found.items() if not finding.ok] == ["model"]
    assert "waycue-server rollout start" in found["model"].do
    assert "160×120" in found["camera"].found


def test_the_selftest_finds_a_broker_and_names_one_that_is_gone(tmp_path: Path, broker: BrokerChild) -> None:
    assert findings(tmp_path, "broker", broker__address=f"{broker.host}:{broker.port}")["broker"].ok
    broker.stop()
    found = findings(tmp_path, "broker", broker__address=f"{broker.host}:{broker.port}")["broker"]
    assert (found.ok, str(broker.port) in found.found) == (False, True)


def test_the_selftest_plays_two_notes_on_a_real_sound_system(tmp_path: Path, pulse: PulseChild) -> None:
    found = findings(tmp_path, "speaker", voice__speech="speakers")["speaker"]
    assert found.ok
    assert re.fullmatch(
        r"played two notes on the analog output speakers of pulseaudio, with a buffer of \d+ ms, stereo; "
        r"what came out of it: left -1\d dB, right -1\d dB",
        found.found,
    )
    wrong = findings(tmp_path, "speaker", voice__speech="speakers", voice__output="no such card")["speaker"]
    assert not wrong.ok
    assert "voice.output" in wrong.do


@needs_espeak
def test_the_selftest_names_a_voice_that_espeak_does_not_have(tmp_path: Path) -> None:
    assert findings(tmp_path, "speech", voice__speech="speakers")["speech"].ok
    found = findings(tmp_path, "speech", voice__speech="speakers", voice__language="mb-us99")["speech"]
    assert not found.ok


def test_the_selftest_tells_a_black_camera_and_a_film_that_is_gone(tmp_path: Path) -> None:
    assert findings(tmp_path, "camera", "microphone")["microphone"].ok
    gone = config(tmp_path, tmp_path / "gone.mp4", capture__pace="real")
    (finding,) = selftest.selftest(gone, SystemClock(), only=("camera",))
    assert (finding.ok, "gone.mp4" in finding.found) == (False, True)


def test_selftest_as_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = films.make(tmp_path / "walk.mp4", seconds=1.0, size=(160, 120), sound=False)
    options = ["--source", f"replay:{walk}", "--state", str(tmp_path), "--speech", "none"]
    assert main(["selftest", *options, "--json", "--only", "disk", "--only", "camera"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["ok"], [check["name"] for check in value["checks"]]) == (True, ["camera", "disk"])
    assert main(["selftest", *options, "--only", "model"]) == 1
    assert "FAIL  model: none on this device" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["outbox", "models"])
def test_a_folder_that_another_process_uses_for_a_moment_does_not_end_the_service_for_good(
    part: str, tmp_path: Path
) -> None:
    folder = tmp_path / "state" / part
    folder.mkdir(parents=True)
    command = [*arguments(tmp_path, film(tmp_path))[3:], "--quiet", "--exit-at-end", "--pace", "fast"]
    with file_lock.locked(folder / ".lock"):  # as `outbox retry` or `models roll-back` does
        assert main(command) == 1  # systemd gives up where it is 2
    assert main(command) == 0
