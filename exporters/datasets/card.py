"""README.md of a folder: the dataset card of Hugging Face, whose front matter says how `load_dataset(folder)` reads it.

Without one, `load_dataset` guesses by counting endings: a folder with as many sounds as pictures is then taken for a
folder of sounds.

source: https://huggingface.co/docs/hub/datasets-cards, https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NAME = "README.md"
LICENCE = "unknown"
"""Until the admin says otherwise, nobody may assume a licence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """What a card says about an export."""

    title: str
    data_files: Sequence[Mapping[str, object]]
    """Of the one configuration: {"split", "path"} each."""
    features: Sequence[Mapping[str, object]] = ()
    """What the columns are, as a card's `dataset_info` says it; () = the reader finds it out."""
    load: str = "load_dataset(FOLDER)"
    """The call that reads it, FOLDER for the folder; "" = Hugging Face `datasets` has no reader for it."""
    licence: str = LICENCE
    splits: Counter[str] = field(default_factory=Counter)
    """Rows of each."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What each column holds."""
    consent: str = ""
    """For whom the export was made, and of whom it has moments."""
    notes: Sequence[str] = ()


def text(about: DatasetCard) -> str:
    """The card. Pure."""
    front: dict[str, object] = {
        "license": about.licence,
        "pretty_name": about.title,
        "language": ["en"],
        "task_categories": ["image-to-text"],
        "tags": ["waycue", "blind-walker-guidance"],
        "size_categories": [_size(about.splits.total())],
    }
    if about.data_files:
        front["configs"] = [{"config_name": "default", "data_files": [dict(entry) for entry in about.data_files]}]
    if about.features:
        front["dataset_info"] = {"features": [dict(entry) for entry in about.features]}
    head = "".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in front.items()
    )  # YAML takes it
    return f"---\n{head}---\n\n" + "\n\n".join(_sections(about)) + "\n"


def _sections(about: DatasetCard) -> list[str]:
    parts = [
        f"# {about.title}",
        "Moments of walks, and what should be said in each to a blind walker: English, spoken.",
    ]
    if about.load:
        call = about.load.replace("FOLDER", '"."')
        parts += ["## How to load", f"```python\nfrom datasets import load_dataset\n\ndataset = {call}\n```"]
    if about.splits:
        rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(about.splits.items()))
        parts += ["## Rows", f"| split | rows |\n|---|---|\n{rows}"]
    if about.columns:
        rows = "\n".join(f"| `{name}` | {means} |" for name, means in about.columns.items())
        parts += ["## Columns", f"| column | holds |\n|---|---|\n{rows}"]
    consent = about.consent or "Nobody was asked whether this may be handed on: it is for whoever made it."
    parts += ["## Consent and licence", f"{consent}\n\nLicence: {about.licence}."]
    return [*parts, *about.notes]


def pictures_card(title: str) -> str:
    """Of a folder with frames/, audio/ and metadata.jsonl, which still grows: no counts."""
    files = [{"split": "train", "path": ["metadata.jsonl", "frames/*.jpg"]}]
    return text(DatasetCard(title=title or "dataset", data_files=files, columns=PICTURES))


PICTURES = {
    "image": "the picture in the middle of the moment (`file_name` in metadata.jsonl)",
    "frame_path": "where it lies in the folder",
    "audio_path": "where the two seconds of sound lie, 16 kHz mono WAV",
    "instruction": "what should be said",
}


def _size(rows: int) -> str:
    for most, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if rows < most:
            return name
    return "100K<n<1M"
