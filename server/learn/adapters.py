"""An adapter, loaded: the base that it was trained on with its difference merged in, ready to answer.

    folder of a night      adapter as peft writes it, hazard head and what else was taught, base.json
    folder of plain peft   adapter_config.json and its weights; the base's own hazard head scores

The base is the recorded one, or the one that is named instead; an adapter of another base is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from server.eyes import by_name, packaged, ssd_tokens
from server.learn import base_record, bases
from server.learn.base_record import BaseRecord
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model import eyes_tower, sound
from server.model.checkpoint import HEAD_FILE, Checkpoint
from shared.errors import ConfigError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ITS_BASE = "Name the base that it was trained on: --base NAME|FOLDER."
_BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
"""What peft, safetensors and torch raise for a file that is damaged or does not fit."""
Progress = Callable[[str], None]


def is_adapter(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def load(folder: Path, home: Path, *, base: str | None = None, progress: Progress = print) -> Checkpoint:
    """The adapter in `folder` merged into its base.

    base: a folder, a name on the hub or "starter", instead of the recorded one
    raises: ConfigError where the base cannot be had or is another than the adapter's, or the adapter is damaged or does
        not fit; BundleError where the eyes that are kept are damaged; OSError
    """
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(
            f"The adapter in {folder} has no {WEIGHTS}.",
            hint="Copy it anew, or save it again with peft: an older adapter_model.bin could run code and is not read.",
        )
    record, config = base_record.read(folder), _config(folder)
    of = _recorded_base(folder, record, config) if base is None else base
    checkpoint = open_base(of, home, record=record, progress=progress)
    if record is not None:
        _check_fingerprint(folder, record, checkpoint)
    elif base is not None:
        _check_name(folder, base, config)
    try:
        _merge(folder, config, checkpoint)
        _load_beside(folder, record, checkpoint)
    except _BROKEN as error:
        raise ConfigError(
            f"The adapter in {folder} does not fit {of!r} or is damaged: {error}", hint=_ITS_BASE
        ) from error
    return checkpoint


def open_base(of: str, home: Path, *, record: BaseRecord | None, progress: Progress) -> Checkpoint:
    """A base by folder, hub name or "starter", with the eyes, ear and number of pictures of an adapter's record."""
    if record is None:
        return bases.load_base(LearnSettings(base=of), home, progress)
    settings = LearnSettings(base=of, eyes=record.eyes, audio_encoder=record.audio_encoder, frames=record.frames)
    return bases.load_base(settings, home, progress)


def open_checkpoint(folder: Path, home: Path) -> Checkpoint:
    """A whole checkpoint in a folder, with the eyes that it stands on. Raises: ConfigError, BundleError, OSError."""
    if not (folder / eyes_tower.FILE).is_file():
        return checkpoints.load(folder)
    record = by_name.kept(folder.parent) if (folder.parent / by_name.RECORD_FILE).is_file() else None
    if record is not None:
        return checkpoints.load(folder, eyes=by_name.opened(home, record.name)[0])
    return checkpoints.load(folder, eyes=None if packaged.kept(home) is None else ssd_tokens.kept(home))


def _config(folder: Path) -> PeftConfig:
    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    except _BROKEN as error:
        raise ConfigError(f"{folder / CONFIG} cannot be read: {error}", hint="Copy the adapter anew.") from error
    if config.is_prompt_learning:
        raise ConfigError(
            f"The adapter in {folder} is of type {config.peft_type}, which changes no weights.",
            hint="Use a LoRA adapter.",
        )
    return config


def _recorded_base(folder: Path, record: BaseRecord | None, config: PeftConfig) -> str:
    of = record.source if record is not None else config.base_model_name_or_path
    if not of:
        raise ConfigError(f"The adapter in {folder} does not say which base it belongs to.", hint=_ITS_BASE)
    return str(of)


def _check_fingerprint(folder: Path, record: BaseRecord, base: Checkpoint) -> None:
    found = checkpoints.model_fingerprint(base)
    if found != record.fingerprint:
        raise ConfigError(
            f"The adapter in {folder} was trained on {record.name} with the fingerprint {record.fingerprint[:12]}; "
            f"{base.name} has {found[:12]}: other weights or another tokenizer.",
            hint=_ITS_BASE,
        )


def _check_name(folder: Path, base: str, config: PeftConfig) -> None:
    """Plain peft records a name alone: its last part has to be the same, wherever the base lies."""
    recorded = str(config.base_model_name_or_path or "")
    if recorded and Path(recorded).name != Path(base).name:
        raise ConfigError(
            f"The adapter in {folder} was trained on {recorded}, and {base} has another name.",
            hint="Name that base, or a folder of that name: --base NAME|FOLDER.",
        )


def _merge(folder: Path, config: PeftConfig, base: Checkpoint) -> None:
    """Raises: ValueError where weights of the adapter have no place in the base, or are missing."""
    config.base_model_name_or_path = None  # checked here; peft would warn where the base lies elsewhere now
    adapted: Any = get_peft_model(base.model, config)
    result: Any = set_peft_model_state_dict(adapted, load_file(folder / WEIGHTS))
    unused = list(result.unexpected_keys)
    missing = [name for name in result.missing_keys if ".lora_" in name or ".modules_to_save." in name]
    if unused or missing:
        first = (unused or missing)[0]
        raise ValueError(f"{len(unused)} of its weights have no place there and {len(missing)} are missing ({first})")
    base.model.tie_weights()
    adapted.merge_and_unload()
    base.model.eval()  # type: ignore[no-untyped-call]


def _load_beside(folder: Path, record: BaseRecord | None, base: Checkpoint) -> None:
    """What a night taught beside the adapter: hazard head, hearing, ground and what is familiar."""
    if (folder / HEAD_FILE).is_file():
        if record is not None:
            base.objects = record.objects
            base.head = checkpoints.new_head(base.model, base.preprocessing, base.objects)
        base.head.load_state_dict({k: v.float() for k, v in load_file(folder / HEAD_FILE).items()})
    if (folder / sound.PROJECTION_FILE).is_file() and base.ear is not None:
        sound.load_projection(base.ear, folder / sound.PROJECTION_FILE)
    if (folder / eyes_tower.FILE).is_file() and base.eyes is not None:
        eyes_tower.load(base.eyes, folder)
