"""`waycue-server qved`: exercise videos with labels, as Mobile-VideoGPT and `finetune` are taught with them."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from exporters.datasets import qved
from exporters.datasets.folder import MARKER, building, check
from exporters.datasets.qved import LeftOut, Video, Wording
from server.commands.finetune import BASE
from server.commands.opening import drawn
from server.learn.clips import DATASETS
from shared.clock import SystemClock
from shared.errors import ConfigError, Refused

FOLDER = "qved"
_NAMED = 20


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser("qved", help="exercise videos with labels (QVED): convert them to teach with")
    parts = parser.add_subparsers(dest="qved_command", required=True, metavar="COMMAND")
    _convert_parser(parts)
    _infer_parser(parts)


def _convert_parser(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    convert = parts.add_parser("convert", help="fine_grained_labels.json → qved_train.json and its videos")
    convert.add_argument("labels", type=Path, metavar="LABELS", help="a fine_grained_labels.json")
    convert.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="the video root: nothing outside it is read (default: the folder of LABELS)",
    )
    convert.add_argument(
        "--out", type=Path, metavar="DIR", help="a new or empty folder (default: datasets/qved under the server's home)"
    )
    convert.add_argument("--force", action="store_true", help="replace an earlier conversion in that folder")
    convert.add_argument(
        "--per-class",
        type=int,
        default=qved.PER_CLASS,
        metavar="N",
        help="at most N videos of each exercise, 0 = all (default: %(default)s)",
    )
    convert.add_argument("--seed", type=int, default=qved.SEED, metavar="N", help="of the draw (default: %(default)s)")
    convert.add_argument(
        "--system", default=qved.SYSTEM, metavar="TEXT", help='the system prompt; "" = none (default: %(default)r)'
    )
    convert.add_argument(
        "--user",
        default=qved.USER,
        metavar="TEXT",
        help="the user prompt; {exercise} in it becomes the exercise's name (default: %(default)r)",
    )
    convert.add_argument(
        "--turns",
        choices=qved.TURNS,
        default=qved.TURNS[0],
        help="mobile-videogpt: from (human, gpt) and value, the system prompt at the beginning of the human turn, as "
        "its loader reads it; sharegpt: a system turn before them; chat: role and content (default: %(default)s)",
    )
    convert.add_argument("--link", action="store_true", help="symbolic links to the videos instead of copies")
    convert.set_defaults(run=_convert)


def _infer_parser(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    infer = parts.add_parser("infer", help="print what a fine-tuned model says of a video")
    infer.add_argument("video", type=Path, metavar="VIDEO", help="a video, or a JPEG picture")
    infer.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="what `finetune` wrote; where there is none, the base answers"
    )
    infer.add_argument(
        "--base",
        default="",
        metavar="NAME|DIR",
        help="a SmolVLM-type checkpoint (default: the one the adapter was trained on)",
    )
    infer.add_argument("--user", metavar="TEXT", help="the question (default: one that the adapter was taught with)")
    infer.add_argument("--system", metavar="TEXT", help="the system prompt (default: the adapter's)")
    infer.add_argument(
        "--tokens", type=int, default=128, metavar="N", help="of the answer, at most (default: %(default)s)"
    )
    infer.set_defaults(run=_infer)


def _infer(options: argparse.Namespace) -> int:
    from server.learn import replying

    model, about = replying.opened(
        options.checkpoint,
        options.base or (BASE if options.checkpoint is None or not options.checkpoint.exists() else ""),
        progress=lambda text: print(text, file=sys.stderr),
    )
    asked = replying.ClipQuestion.of(about, question=qved.USER.replace(qved.EXERCISE, "unknown"), system="")
    given = {"question": options.user, "system": options.system}
    asked = replace(asked, **{name: text for name, text in given.items() if text is not None})
    print(replying.reply(model, options.video, asked, tokens=max(1, options.tokens)))
    return 0


def _convert(options: argparse.Namespace) -> int:
    if options.per_class < 0:
        raise ConfigError("--per-class must be 1 or more, or 0 for all.")
    out = options.out or options.home / DATASETS / FOLDER
    check(out, force=options.force)
    videos, left_out = qved.read(options.labels, videos=options.videos or options.labels.absolute().parent)
    videos, beyond = qved.draw(videos, most=options.per_class, seed=options.seed)
    left_out += beyond
    _tell(left_out)
    if not videos:
        raise Refused("There is nothing to convert.", hint="Above is why; name the video root with --videos.")
    _write(options, out, videos, left_out)
    print(f"{len(videos)} entries of {len({video.exercise for video in videos})} exercises in {out / qved.FILE}")
    return 0


def _write(options: argparse.Namespace, out: Path, videos: Sequence[Video], left_out: Sequence[LeftOut]) -> None:
    wording = Wording(options.system, options.user, options.turns)
    progress = drawn(len(videos), sys.stderr)
    with building(out, force=options.force, link=options.link) as folder:
        qved.write(_watched(videos, progress), folder, wording=wording)
        about = {"format": "qved", "seed": options.seed, "per_class": options.per_class, **asdict(wording)}
        left = [asdict(one) for one in left_out]
        folder.write_json(MARKER, {**about, "left_out": left, "written_at_utc": SystemClock().utc_s()})


def _watched(videos: Sequence[Video], progress: Callable[[int], None]) -> Iterator[Video]:
    for done, video in enumerate(videos, start=1):
        yield video
        progress(done)


def _tell(left_out: Sequence[LeftOut]) -> None:
    """Each by name, of one reason at most _NAMED; all of them are in the folder's MARKER."""
    reasons: defaultdict[str, list[LeftOut]] = defaultdict(list)
    for one in left_out:
        reasons[one.reason].append(one)
    for reason, some in sorted(reasons.items()):
        print(f"Left out: {len(some)} ({reason})", file=sys.stderr)
        for one in some[:_NAMED]:
            print(f"  label {one.number}: {one.video or '(no video)'}", file=sys.stderr)
        if len(some) > _NAMED:
            print(f"  and {len(some) - _NAMED} more, named in {MARKER}", file=sys.stderr)
