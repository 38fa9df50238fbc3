"""What an export says of itself: its card, for whom it is, and whose moments are in it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from exporters.datasets import card, hub
from exporters.datasets.card import DatasetCard
from exporters.datasets.rows import SPLITS, Row
from server import config

_LOAD = {"lerobot": 'LeRobotDataset("waycue/walks", root=FOLDER)', "coco": "", "sqlite": ""}
COLUMNS = {
    "jsonl": card.PICTURES,
    "imagefolder": {"image": "the picture", "text": "what should be said", "audio_path": "where its sound lies"},
    "audiofolder": {
        "audio": "two seconds of sound",
        "frame_path": "where its picture lies",
        "instruction": "its words",
    },
    "parquet": {"image": "the picture", "audio": "two seconds of sound", "instruction": "what should be said"},
    "webdataset": {"jpg": "the picture", "wav": "two seconds of sound", "json": "`instruction` and what else is known"},
}
_BY_SPLIT = ("imagefolder", "audiofolder", "parquet", "webdataset", "coco", "lerobot")
"""The others are one table, which `load_dataset` calls train."""
_SOUND = {
    "parquet": 'Decoding sounds needs torchcodec; else `cast_column("audio", datasets.Audio(decode=False))`.',
    "audiofolder": "Hugging Face `datasets` reads folders of sounds only where torchcodec is installed.",
    "webdataset": 'The sounds are WAV bytes; with torchcodec: `cast_column("wav", datasets.Audio())`.',
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The options --for, --anonymous and --licence."""
    parser.add_argument(
        "--for",
        dest="audience",
        choices=("own", "others"),
        default="own",
        help="others: only moments whose wearers agreed that they leave this server (default: own)",
    )
    parser.add_argument(
        "--anonymous",
        action="store_true",
        help="without names, places, times and voices; faces, heads and plates are hidden as far as they are found",
    )
    parser.add_argument("--licence", metavar="NAME", help='for the card, such as "cc-by-4.0" (default: export.licence)')


def agreed(home: Path) -> frozenset[str]:
    """Wearers all of whose moments may leave. Raises: ConfigError."""
    names = config.load(home).export.agreed.split(",")
    return frozenset(name.strip() for name in names if name.strip())


def own_use(stays: int, count: int) -> str:
    """What is said where an export is for oneself; "" = all of it may be handed on. stays: moments that may not be"""
    if not stays:
        return ""
    return (
        f"For your own use only: {stays} of {count} moments are of wearers who have not agreed that they leave "
        "this server. What may be handed on: --for others"
    )


def about(options: argparse.Namespace, rows: Sequence[Row], *, left_out: int, root: Path) -> DatasetCard:
    """The card of an export of these rows. left_out: those that the writer left out; root: what it wrote.
    Raises: ConfigError."""
    licence = options.licence
    if licence is None:
        licence = card.LICENCE if options.labels else config.load(options.home).export.licence
    splits = Counter(SPLITS[row.split] if options.format in _BY_SPLIT else "train" for row in rows)
    return DatasetCard(
        title=f"Guidance for blind walkers ({options.format})",
        data_files=[entry for entry in hub.files_of(options.format, splits) if hub.is_there(root, entry)],
        load=_LOAD.get(options.format, "load_dataset(FOLDER)"),
        features=hub.features_of(options.format, rows[0].fields),
        licence=licence,
        splits=Counter({"all": len(rows) - left_out}) if left_out else splits,
        columns={**COLUMNS.get(options.format, {}), **dict.fromkeys(rows[0].fields, "as the server knows it")},
        consent=_consent(options),
        notes=[_SOUND[options.format]] if options.format in _SOUND else [],
    )


def _consent(options: argparse.Namespace) -> str:
    """For whom an export was made, and what it shows of people."""
    agreed_to = _ALL_AGREED if options.audience == "others" else _OWN
    about_people = f"{_NAMELESS} {getattr(options, 'people', '')}".strip() if options.anonymous else _PEOPLE
    return f"{agreed_to} {about_people}"


_OWN = "Not to be handed on: it was written for the server's own use, and not every wearer was asked."
_ALL_AGREED = "Every wearer agreed that these moments are handed on."
_NAMELESS = "Names, places, times and voices were taken out. Pictures show real people, who may not know of it."
_PEOPLE = "Pictures and sounds show real people, who may have passed by without knowing."
