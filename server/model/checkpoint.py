"""A model that waycue trains: any SmolVLM-type checkpoint, its tokenizer, the hazard head and how pictures reach it.

One code path for every size: a hub name, a local folder, or the starter that ships with waycue. Its prompt is in the
base's own chat template (server.model.chat). On disk it is what transformers' save_pretrained writes, plus
`waycue.json` (preprocessing, objects, sides, frames, use, thresholds) and `hazard_head.safetensors`, and where it hears
`audio_encoder/` with its projection. A checkpoint without those (one from the hub) gets a fresh, silent head and hears
nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers import logging as transformers_logging
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from server.eyes.backbone import Backbone
from server.model import chat, eyes_tower, sound
from server.model.hazard_head import HazardHead
from shared import atomic, vocabulary
from shared.errors import ConfigError
from shared.preprocess import Preprocessing

EXTRA_FILE = "waycue.json"
HEAD_FILE = "hazard_head.safetensors"
FIELD_TILE_PX = (
    256  # one tile: 16 image tokens for SmolVLM2-256M instead of 64 at 512 px, a quarter of the tower's work
)
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # our own progress is the only voice
HEAD_SEED = 15
_EMBEDDINGS = "vision_model.embeddings."
DEFAULT_THRESHOLDS = {"hazard_above": 0.5, "speak_above": 0.5, "flag_below": 0.6}


@dataclass(slots=True)
class Checkpoint:
    """Everything that one model is."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: HazardHead
    preprocessing: Preprocessing
    name: str
    intended_use: Literal["demo", "field"] = "field"
    objects: tuple[str, ...] = field(default_factory=lambda: tuple(vocabulary.load().objects))
    sides: tuple[str, ...] = vocabulary.SIDES_SEEN
    known: tuple[str, ...] = ()
    """Objects this model was trained to see; empty = unknown (a hub checkpoint)."""
    thresholds: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_THRESHOLDS))
    frames: int = 1
    """2: the previous picture is shown too, before the newest."""
    ear: sound.Ear | None = None
    """What it hears with; None = it is given no sound."""
    eyes: eyes_tower.Eyes | None = None
    """The pretrained eyes that its tower stands on; None = a tower of its own."""
    _prompts: dict[int, chat.Prompt] = field(default_factory=dict, repr=False)
    """By number of frames."""

    @property
    def width(self) -> int:
        """Length of an image token."""
        return int(self.model.config.text_config.hidden_size)

    @property
    def patches(self) -> int:
        return (self.preprocessing.size_px // int(self.model.config.vision_config.patch_size)) ** 2

    @property
    def image_tokens(self) -> int:
        return int(self.patches // self.model.config.scale_factor**2)

    @property
    def prompt(self) -> chat.Prompt:
        """In the base's own chat template. Raises: ConfigError."""
        if self.frames not in self._prompts:
            self._prompts[self.frames] = chat.read(
                self.tokenizer, self.model.config, frames=self.frames, image_tokens=self.image_tokens
            )
        return self._prompts[self.frames]

    @property
    def end_id(self) -> int:
        return self.prompt.end_id

    def before_ids(self) -> list[int]:
        return list(self.prompt.before)

    def after_ids(self) -> list[int]:
        return list(self.prompt.after)

    def between_ids(self) -> list[int]:
        """Empty where one picture is shown."""
        return list(self.prompt.between)

    def answer_ids(self, text: str) -> list[int]:
        return chat.answer_ids(self.tokenizer, text, self.end_id)


def load(name_or_folder: str | Path, *, eyes: Backbone | None = None) -> Checkpoint:
    """Load a checkpoint by hub name or folder, in float32 for training on a CPU.

    eyes: for one whose tower stands on them
    raises: ConfigError where there is no such checkpoint, it is no SmolVLM-type model, or stands on eyes that are not
        given.
    """
    name = str(name_or_folder)
    model, tokenizer = _pretrained(name)
    folder = Path(name)
    extra_file = folder / EXTRA_FILE
    extra: dict[str, Any] = json.loads(extra_file.read_text()) if extra_file.is_file() else {}
    preprocessing = (
        Preprocessing.from_dict(extra["preprocessing"]) if extra else Preprocessing(size_px=FIELD_TILE_PX, fit="pad")
    )
    objects = tuple(extra.get("objects", vocabulary.load().objects))
    checkpoint = Checkpoint(
        model=model,
        tokenizer=tokenizer,
        head=new_head(model, preprocessing, objects),
        preprocessing=preprocessing,
        name=extra.get("name", folder.name if folder.is_dir() else name),
        intended_use=extra.get("intended_use", "field"),
        objects=objects,
        known=tuple(extra.get("known", ())),
        thresholds=extra.get("thresholds", DEFAULT_THRESHOLDS),
        frames=int(extra.get("frames", 1)),
    )
    try:
        _ = checkpoint.prompt
    except ConfigError as error:
        raise ConfigError(f"The base model {name!r} cannot be used: {error.args[0]}", hint=error.hint) from None
    checkpoint.ear = sound.load(folder, checkpoint.width)
    if (folder / eyes_tower.FILE).is_file():
        checkpoint.eyes = _eyes(model, folder, eyes)
    if (folder / HEAD_FILE).is_file():
        checkpoint.head.load_state_dict({k: v.float() for k, v in load_file(folder / HEAD_FILE).items()})
    return checkpoint


def _eyes(model: PreTrainedModel, folder: Path, eyes: Backbone | None) -> eyes_tower.Eyes:
    if eyes is None:
        raise ConfigError(
            f"The model in {folder} stands on pretrained eyes, which are not here.",
            hint="Fetch them: waycue-server models add eyes",
        )
    given = eyes_tower.give(model, eyes)
    eyes_tower.load(given, folder)
    return given


def _pretrained(name: str) -> tuple[Any, Any]:
    """Model and tokenizer, which fit each other. Raises: ConfigError."""
    reported = transformers_logging.get_verbosity()
    if (Path(name) / eyes_tower.FILE).is_file():  # else a table says that the unused patch embedding is new
        transformers_logging.set_verbosity(logging.ERROR)
    try:
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(name)
        tokenizer.chat_template = chat.template(name) or tokenizer.chat_template
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"The base model {name!r} could not be loaded: {error}",
            hint="Give the name of a model on the hub, or a folder that save_pretrained wrote.",
        ) from error
    finally:
        transformers_logging.set_verbosity(reported)
    if not hasattr(model, "model") or not hasattr(model.model, "connector"):
        raise ConfigError(
            f"{name!r} is a {type(model).__name__}, which has no vision connector.",
            hint="Use a SmolVLM-type checkpoint, e.g. HuggingFaceTB/SmolVLM2-256M-Video-Instruct.",
        )
    _check_tokenizer(name, model, tokenizer)
    return model, tokenizer


def _check_tokenizer(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises: ConfigError where the tokenizer knows tokens for which the model has no embedding."""
    embeddings: Any = model.get_input_embeddings()
    most, rows = max(tokenizer.get_vocab().values(), default=-1), int(embeddings.num_embeddings)
    if most >= rows:
        raise ConfigError(
            f"The base model {name!r} has {rows} tokens, its tokenizer {most + 1}: they do not belong together.",
            hint="Put the tokenizer and the weights of one checkpoint into the folder.",
        )


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hex SHA-256 over weights, tokenizer and prompt: what was made from one base is not gone on with under another."""
    eyes = [] if checkpoint.eyes is None else [checkpoint.eyes.ground, checkpoint.eyes.familiar]
    ear = [] if checkpoint.ear is None else [checkpoint.ear]
    digest = _digest_of([checkpoint.model, checkpoint.head, *ear, *eyes], checkpoint.tokenizer)
    digest.update(json.dumps([checkpoint.before_ids(), checkpoint.between_ids(), checkpoint.after_ids()]).encode())
    return digest.hexdigest()


def model_fingerprint(checkpoint: Checkpoint) -> str:
    """Hex SHA-256 over what an adapter changes and brings no copy of: the model's weights and the tokenizer."""
    return _digest_of([checkpoint.model], checkpoint.tokenizer).hexdigest()


def _digest_of(parts: Sequence[nn.Module], tokenizer: PreTrainedTokenizerBase) -> hashlib._Hash:
    digest = hashlib.sha256()
    for part in parts:
        for name, weight in part.state_dict().items():
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data if weight.numel() else b"")
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    return digest


def new_head(model: PreTrainedModel, preprocessing: Preprocessing, objects: tuple[str, ...]) -> HazardHead:
    """An untaught one, the same every time: a night that is gone on with must find the base that it began from."""
    vision = model.config.vision_config
    patches = (preprocessing.size_px // int(vision.patch_size)) ** 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HEAD_SEED)
        return HazardHead(int(vision.hidden_size), patches, len(objects), len(vocabulary.SIDES_SEEN))


def grow(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Give the hazard head an untaught row for each object of the vocabulary that it has none for; returns those.

    A night does so before it trains: an object that was added to the vocabulary is scored after the first night that
    has confirmed rows which name it.
    """
    new = tuple(name for name in vocabulary.load().objects if name not in checkpoint.objects)
    if new:
        taught = [checkpoint.objects.index(name) for name in checkpoint.known or checkpoint.objects]
        checkpoint.head = checkpoint.head.grown(len(new), like=taught)
        checkpoint.objects = (*checkpoint.objects, *new)
    return new


def save(checkpoint: Checkpoint, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write the checkpoint so that `load` gives it back. The folder appears whole or not at all. Raises: OSError."""
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    temp.mkdir(parents=True)
    weights = checkpoint.model.state_dict().items()
    own = [(key, value) for key, value in weights if checkpoint.eyes is None or _EMBEDDINGS not in key]
    state = {key: value.to(dtype) for key, value in own}
    checkpoint.model.save_pretrained(temp, state_dict=state)
    checkpoint.tokenizer.save_pretrained(temp)
    head = {key: value.detach().to(dtype).contiguous() for key, value in checkpoint.head.state_dict().items()}
    save_file(head, temp / HEAD_FILE)
    if checkpoint.ear is not None:
        sound.save(checkpoint.ear, temp, dtype=dtype)
    if checkpoint.eyes is not None:
        eyes_tower.save(checkpoint.eyes, temp, dtype=dtype)
    atomic.write_json(
        temp / EXTRA_FILE,
        {
            "name": checkpoint.name,
            "intended_use": checkpoint.intended_use,
            "preprocessing": checkpoint.preprocessing.to_dict(),
            "objects": list(checkpoint.objects),
            "sides": list(checkpoint.sides),
            "known": list(checkpoint.known),
            "thresholds": dict(checkpoint.thresholds),
            "frames": checkpoint.frames,
        },
    )
    atomic.remove_tree(folder)
    atomic.move(temp, folder)
