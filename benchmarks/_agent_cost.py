"""Processor seconds that the whole agent takes for a minute of walk, in a process of its own and in real time.

`waycue-device run` replays a film with everything on: 2 s chunks with sound and clip are recorded, guidance looks four
times a second, the voice goes into a WAV file. What starting costs (Python, the model) is over before the minute
begins, and is told apart; the voice's phrases are rendered in a run before, as on every start of a device but its
first. Linux only: the figures are the kernel's own, from /proc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from shared import atomic

START_S = 20.0
END_S = 5.0
"""Of film after the minute, so that it never ends within."""
GAP_S = 0.2
"""Between two rounds of a film: stamps that go back would be refused."""
LOOKS_PER_S = 4.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used of the processor since it began, in seconds."""

    all_s: float
    """With the programs that it started and that ended."""
    by_part: Mapping[str, float]
    """`main`: source, recorder, clips. `decoding`: FFmpeg's threads. `other`: guidance, the model's threads, voice."""


def looped(film: Path, target: Path, *, seconds: float) -> None:
    """A film again and again, at least so many seconds long, without encoding it anew. Raises: OSError, FFmpegError."""
    atomic.make_dirs(target.parent)
    temp = target.with_name(target.name + atomic.TEMP_SUFFIX)
    with av.open(str(temp), "w", format="mp4") as out:
        streams: dict[int, Any] = {}
        at_s = 0.0
        while at_s < seconds:
            at_s = _append(film, out, streams, at_s) + GAP_S
    atomic.move(temp, target)


def _append(film: Path, out: Any, streams: dict[int, Any], at_s: float) -> float:
    """One round of a film, from `at_s` on; where it ends."""
    end_s = at_s
    with av.open(str(film)) as source:
        for stream in (*source.streams.video[:1], *source.streams.audio[:1]):
            if stream.index not in streams:
                streams[stream.index] = out.add_stream_from_template(stream)
        for packet in source.demux([source.streams[index] for index in streams]):
            if packet.dts is None or packet.pts is None:  # the last one is empty
                continue
            shift = round(at_s / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    return end_s


def agent_cost(model: Path, film: Path, home: Path, *, seconds: float, threads: int = 2) -> dict[str, Any]:
    """Guide along a film of START_S + seconds + END_S at least, and measure `seconds` of it.

    model: bundle folder; home: where settings, state and report go
    raises: RuntimeError where the agent ends too soon; OSError
    """
    report = home / "report.json"
    _settings(home, threads=threads)
    options = {
        "config": home / "device.toml",
        "state": home / "state",
        "source": f"replay:{film}",
        "pace": "real",
        "model": model,
        "report": report,
        "linger-s": 0,
    }
    command = [str(Path(sys.executable).parent / "waycue-device"), "run", "--exit-at-end", "--quiet"]
    command += [f"--{name}={value}" for name, value in options.items()]
    if not (home / "state").exists():
        _warm_up(command)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        time.sleep(START_S)
        before = used(process.pid)
        time.sleep(seconds)
        after = used(process.pid)
        memory_mb = _memory_mb(process.pid)
        process.wait(timeout=60)
    except (subprocess.TimeoutExpired, FileNotFoundError, ProcessLookupError) as error:
        raise RuntimeError("the agent ended before the measured time, or did not end after it") from error
    finally:
        process.kill()
        process.wait()
    walk = json.loads(report.read_bytes())
    return {**per_minute(before, after, seconds=seconds), "memory_mb": memory_mb, **_told(walk)}


def _warm_up(command: list[str]) -> None:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    time.sleep(START_S)
    process.terminate()
    process.wait(timeout=60)


def per_minute(before: Used, after: Used, *, seconds: float) -> dict[str, Any]:
    """Processor seconds for each minute between two measurements, whole and by part; and what starting took.

    The part `ended` is of threads and programs that are no more, espeak-ng above all.
    """
    scale = 60 / seconds
    whole = after.all_s - before.all_s
    parts = {part: after.by_part[part] - before.by_part[part] for part in sorted(after.by_part)}
    parts["ended"] = max(0.0, whole - sum(parts.values()))
    return {
        "cpu_s_per_minute": round(whole * scale, 2),
        "by_part": {part: round(part_s * scale, 2) for part, part_s in parts.items()},
        "start_cpu_s": round(before.all_s, 2),
    }


def used(pid: int) -> Used:
    """Of a running process. Raises: FileNotFoundError, ProcessLookupError where there is none."""
    whole = _fields(Path(f"/proc/{pid}/stat"))[1]
    parts = dict.fromkeys(("main", "decoding", "other"), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = _fields(task / "stat")
        part = "main" if int(task.name) == pid else "decoding" if name.startswith("av:") else "other"
        parts[part] += sum(fields[:2]) / _TICKS
    return Used(sum(whole) / _TICKS, parts)


def _fields(file: Path) -> tuple[str, list[int]]:
    """(name, [utime, stime, cutime, cstime] in ticks); source: proc(5)"""
    head, _, rest = file.read_text().rpartition(") ")
    return head.partition("(")[2], list(map(int, rest.split()[11:15]))


def _memory_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return round(int(text.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def _settings(home: Path, *, threads: int) -> None:
    atomic.make_dirs(home)
    (home / "device.toml").write_text(
        f'[device]\nname = "bench"\n[voice]\nspeech = "{home / "speech.wav"}"\n[buttons]\nkeys = false\n'
        f"[guidance]\nthreads = {threads}\nlooks_per_s = {LOOKS_PER_S}\n"
    )


def _told(walk: Mapping[str, Any]) -> dict[str, Any]:
    """What of the report says whether it kept up."""
    duration_s = float(walk["duration_s"])
    return {
        "looks_per_s": round(walk["looks"] / duration_s, 2),
        "pictures_per_s": round(walk["frames_seen"] / duration_s, 2),
        "pictures_dropped": walk["frames_dropped"],
        "said": len(walk["guidance"]),
    }
