"""`make demo VIDEO=path`: guide, flag, sync, merge and review, on any video file.

The wearer flags at the middle of the video, so that there is something to review beside what the device itself flags.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.demo import eyes
from scripts.demo.caregiver import Caregiver
from scripts.demo.children import Children
from scripts.demo.report import speech_times
from scripts.demo.screen import Screen
from scripts.demo.story import Demo, all_merged, prepare_home, serve, walk
from server.evaluation import captioned
from server.labelling import footage
from shared import atomic
from shared.errors import ConfigError

CAPTIONED = "captioned.mp4"
FLAG_AT_S = (1.0, 5.0)


def run(video: Path, out: Path, screen: Screen, *, keep_open: bool, eyes_from: Path | None = None) -> int:
    """Returns the exit status.

    eyes_from: tarball of the eyes' package, where there is no registry
    raises: ConfigError where there is no such file, WaycueError where a part fails
    """
    if not video.is_file():
        raise ConfigError(f"There is no video {video}.", hint="Give the path of a file: make demo VIDEO=walk.mp4")
    if out.resolve() in video.resolve().parents:
        raise ConfigError(f"{video} is in {out}, which each demo begins by emptying.", hint="Move it somewhere else.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with ExitStack() as ending, Children(out / "logs") as children:
        demo = Demo(out, screen, children)
        with screen.step("Fetch the eyes, or export the starter model"):
            prepare_home(demo)
            model = eyes.choose(demo, eyes_from)
            if model.folder is None:
                demo.call("export", "models", "add", "starter")
        serve(demo, ending)
        buttons = out / "buttons.jsonl"
        buttons.write_text("".join(json.dumps({"t_s": at, "action": "flag"}) + "\n" for at in FLAG_AT_S))
        with screen.step(f"Walk through {video.name} in real time"):
            done = walk(demo, video, seconds=3600, buttons=buttons, model=model.folder)
            screen.note(f"{done['chunks']} chunks, {len(done['guidance'])} spoken, {len(done['flagged'])} flagged")
        with screen.step("Sync and merge"):
            samples = all_merged(Caregiver(demo.web), done)
            merged = len({sample["sample_id"] for sample in samples} & set(done["flagged"]))
            screen.note(f"{merged} of {len(done['flagged'])} flagged chunks merged")
        report = {"video": video.name, "notice": model.notice, "walks": [done], "merged": merged, "samples": samples}
        atomic.write_json(out / "report.json", report)
        with screen.step("Put captions on the film"):
            speech = out / f"{done['name']}.speech.wav"
            captioned.write(footage.find(video), [*done["guidance"], *done["announced"]], speech, out / CAPTIONED)
        _summarise(report, out, screen.console)
        if keep_open:
            screen.console.print(f"The review page is open at {demo.web} until Ctrl-C.")
            while True:
                time.sleep(1)
    return 0 if merged == len(done["flagged"]) else 1


def _summarise(report: dict[str, Any], out: Path, console: Console) -> None:
    done = report["walks"][0]
    frames = f"{done['frames_seen']} frames seen, {done['frames_dropped']} dropped"
    console.print(f"{report['video']}: {done['chunks']} chunks, {frames}, frame → speech {speech_times(done)}")
    for said in done["guidance"]:
        kind = captioned.kind(said)
        console.print(f"  {said['t_s']:5.1f} s  {said['text']}  ({said['confidence']:.2f}; {kind})", highlight=False)
    console.print(f"With captions and speech: {out / CAPTIONED}. Flagged moments: {report['merged']} on the page.")
    console.print(f"[bold]{report['notice']}[/]")
