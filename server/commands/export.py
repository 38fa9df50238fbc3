"""`waycue-server export`: the dataset in the formats of other tools, whole or not at all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.datasets import captions, card, conversations, fine_labels, formats, hub, lerobot
from exporters.datasets.conversations import ConversationStyle
from exporters.datasets.folder import MARKER, ExportFolder, building, check
from exporters.datasets.rows import LeftOut, Row
from server.commands import handing_on
from server.commands.opening import drawn, opened
from server.consent import register as consent
from server.labelling import footage
from server.privacy import exports
from server.review.chosen import ChosenRows
from server.review.export import Wanted, draw
from server.review.nameless import nameless
from shared import vocabulary
from shared.clock import SystemClock
from shared.errors import ConfigError, MediaError, Refused

Writer = Callable[[Iterable[Row], ExportFolder], LeftOut]
WRITERS: dict[str, Writer] = {
    "jsonl": formats.write_jsonl,
    "imagefolder": formats.write_imagefolder,
    "conversations": conversations.write,
    "vsr": formats.write_vsr,
    "correction": formats.write_correction,
    "audiofolder": hub.write_audiofolder,
    "parquet": hub.write_parquet,
    "webdataset": hub.write_webdataset,
    "coco": captions.write_coco,
    "lerobot": lerobot.write,
    "samples": formats.write_samples,
    "sqlite": formats.write_sqlite,
}
_EPILOG = """\
formats:
  jsonl          frames/, audio/ and metadata.jsonl with frame_path, audio_path, instruction
  imagefolder    Hugging Face: train/ and test/ with metadata.jsonl (file_name, text)
  conversations  system, user and assistant turns about each clip or picture, as Mobile-VideoGPT is taught
  vsr            each clip with its text, duration and fps
  correction     what was worded, and what should have been said; text only
  audiofolder    Hugging Face: the sounds with their pictures, as imagefolder has the pictures with their sounds
  parquet        Hugging Face: one table for each split, pictures and sounds inside
  webdataset     one .tar for each split: 000000.jpg, .wav, .json
  coco           images/ and captions.json, as COCO's captions are; nobody has drawn boxes, so there are none
  lerobot        LeRobotDataset v3.0: each clip is an episode, its task is what should be said; no actions
  samples        training_data/ with videos/training_*.avi and samples.jsonl: what was worded, corrected and right
  sqlite         the same, with the table training_samples in samples.sqlite

README.md is a dataset card: datasets.load_dataset(DIR) reads all but coco and sqlite as they lie.
Exports hold pictures and voices of real people. --for others leaves out whoever has not agreed to that.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "export",
        help="write the dataset in another tool's format",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--format", choices=tuple(WRITERS), required=True, help="see below")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    parser.add_argument(
        "--only",
        choices=("reviewed", "all"),
        default="reviewed",
        help="all: also moments that nobody has confirmed, with their proposed wording (default: reviewed)",
    )
    parser.add_argument("--split", choices=("train", "held_out", "golden", "all"), default="all", help="default: all")
    handing_on.add_flags(parser)
    media = parser.add_mutually_exclusive_group()
    media.add_argument("--copy", action="store_true", help="copy pictures, sounds and clips (the default)")
    media.add_argument("--link", action="store_true", help="symbolic links to the server's own files instead")
    parser.add_argument(
        "--silence",
        default=vocabulary.CLEAR,
        metavar="TEXT",
        help=f'what to write where nothing should be said; "" leaves such rows out (default: "{vocabulary.CLEAR}")',
    )
    parser.add_argument(
        "--per-object",
        type=int,
        default=0,
        metavar="N",
        help="at most N rows for each object, a draw that is the same every time (default: all)",
    )
    _conversation_flags(parser.add_argument_group("conversations only"))
    parser.set_defaults(run=run)


def _conversation_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--system", default=conversations.SYSTEM, metavar="TEXT", help='the system turn; "" = none')
    group.add_argument(
        "--user",
        default=ConversationStyle().user,
        metavar="TEXT",
        help="the user turn; {context} in it becomes the moment's context (default: %(default)r)",
    )
    group.add_argument(
        "--turns",
        choices=("chat", "sharegpt"),
        default="chat",
        help="chat: role and content; sharegpt: from (system, human, gpt) and value, as LLaVA has it (default: chat)",
    )
    group.add_argument(
        "--media",
        choices=("best", "clip", "frame"),
        default="best",
        help="best: the clip where there is one, else the picture (the default)",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="convert the videos of a QVED fine_grained_labels.json instead of the server's moments",
    )
    group.add_argument(
        "--videos", type=Path, metavar="DIR", help="where paths in FILE start from (default: the folder of FILE)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the export; returns the exit status."""
    _check_flags(options)
    check(options.out, force=options.force)  # before an hour of copying
    rows: Sequence[Row]
    rows, left_out = _from_labels(options) if options.labels else _from_server(options)
    sample_ids = rows.sample_ids if isinstance(rows, ChosenRows) else []
    if options.format == "vsr":
        rows = timed(rows, left_out)
    with TemporaryDirectory(prefix="waycue-export-") as scratch, _registered(options, sample_ids):
        rows = _anonymous(options, rows, Path(scratch), left_out) if options.anonymous else rows
        written = _write(options, rows, left_out) if rows else 0
    for reason, number in sorted(left_out.items()):
        print(f"Left out: {number} ({reason})", file=sys.stderr)
    if not written:
        raise Refused("There is nothing to export.", hint="Above is why; unreviewed moments go out with --only all.")
    print(f"{written} rows in {options.out}")
    return 0


def _check_flags(options: argparse.Namespace) -> None:
    """Raises: ConfigError, Refused for what cannot be had together."""
    if options.labels and options.format != "conversations":
        raise ConfigError("--labels is for --format conversations.")
    if options.per_object < 0:
        raise ConfigError("--per-object must be 1 or more, or 0 for all.")
    if options.anonymous and (options.link or options.labels or options.format == "audiofolder"):
        raise ConfigError("--anonymous makes sounds and pictures anew: not with --link, --labels or audiofolder.")
    if options.out.resolve().is_relative_to(options.home / "dataset"):
        raise Refused("An export may not lie in the dataset itself.", hint="Name another folder with --out.")


def _from_server(options: argparse.Namespace) -> tuple[Sequence[Row], LeftOut]:
    agreed = handing_on.agreed(options.home)
    wanted = Wanted(
        only=options.only,
        split=options.split,
        silence=options.silence,
        per_object=options.per_object,
        for_others=options.audience == "others",
        agreed=agreed,
    )
    with opened(options.home) as (store, dataset):
        rows = ChosenRows.of(store, replace(wanted, consents=consent.read(store)), dataset.blobs)
    if not wanted.for_others and (note := handing_on.own_use(rows.not_agreed, len(rows))):
        print(note, file=sys.stderr)
    return rows, rows.left_out


def _anonymous(options: argparse.Namespace, rows: Sequence[Row], scratch: Path, left_out: LeftOut) -> list[Row]:
    """Without names, and without the people that can be found."""
    from server.privacy import anonymous, blurring
    from server.releases.registry import Registry

    rows = nameless(rows, scratch)
    if options.format == "correction":  # has text only
        return rows
    with closing(Registry(options.home)) as registry:
        finder, checks = blurring.pair_of(options.home, registry)
    rows, report = anonymous.without_people(rows, scratch, finder, checks)
    for name, why in report.still.items():
        left_out[why] += 1
        print(f"Left out, {why}: {name}", file=sys.stderr)
    options.people = report.in_words()
    print(options.people, file=sys.stderr)
    return rows


@contextmanager
def _registered(options: argparse.Namespace, sample_ids: Sequence[str]) -> Iterator[None]:
    """Written down, so that a deletion finds it."""
    if not sample_ids:
        yield
        return
    about = exports.MadeExport(
        path=options.out.absolute(),
        format=options.format,
        audience=options.audience,
        anonymous=options.anonymous,
        at=SystemClock().utc_s(),
    )
    with opened(options.home) as (store, _dataset), exports.noted(store, about, sample_ids):
        yield


def _from_labels(options: argparse.Namespace) -> tuple[list[Row], LeftOut]:
    rows, left_out = fine_labels.read(options.labels, videos=options.videos or options.labels.parent)
    if options.per_object:
        kept = draw(rows, options.per_object, kind=lambda row: row.context, name=lambda row: row.name)
        if len(kept) < len(rows):
            left_out[f"more than {options.per_object} of one class"] = len(rows) - len(kept)
        rows = kept
    return rows, left_out


def timed(rows: Sequence[Row], left_out: LeftOut) -> list[Row]:
    """The rows with their clips' real length and rate; those whose clip can not be played are left out."""
    out = []
    for row in rows:
        if row.clip is None or not row.clip.is_file():
            out.append(row)  # the writer says why it stays
            continue
        try:
            video = footage.find(row.clip)
            out.append(replace(row, duration_s=video.duration_s, fps=video.fps))
        except MediaError:
            left_out["its clip can not be played"] += 1
    return out


def _write(options: argparse.Namespace, rows: Sequence[Row], left_out: LeftOut) -> int:
    """Returns how many rows were written; writes nothing where there are none."""
    writer = WRITERS[options.format]
    if options.format == "conversations":
        style = ConversationStyle(options.system, options.user, options.turns, options.media)
        writer = partial(conversations.write, style=style)
    try:
        with building(options.out, force=options.force, link=options.link) as folder:
            unfit = writer(_watched(rows), folder)
            left_out.update(unfit)
            written = len(rows) - unfit.total()
            if not written:
                raise _NothingToWriteError
            about = {
                "format": options.format,
                "rows": written,
                "left_out": left_out,
                "only": options.only,
                "for": options.audience,
            }
            folder.write_file(
                card.NAME, card.text(handing_on.about(options, rows, left_out=unfit.total(), root=folder.root))
            )
            folder.write_json(MARKER, {**about, "split": options.split, "written_at_utc": SystemClock().utc_s()})
    except _NothingToWriteError:
        return 0
    return written


def _watched(rows: Sequence[Row]) -> Iterator[Row]:
    progress = drawn(len(rows), sys.stderr)
    for done, row in enumerate(rows, start=1):
        progress(done)
        yield row


class _NothingToWriteError(Exception):
    """Takes the empty folder away again."""
