"""`base.json` in an adapter's folder: which base it was trained on, so that whoever loads it gets that one or is told.

An adapter is a difference: on other weights, or with another tokenizer, it is noise that may look like an answer. So
the record holds the base's fingerprint beside where it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from server.model import checkpoint as checkpoints
from server.model import sound
from server.model.checkpoint import Checkpoint
from shared import strict
from shared.errors import ConfigError, MessageError

FILE = "base.json"
STARTER = "starter"
NO_EYES, PACKAGED = "none", "packaged"
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """The base that an adapter belongs to."""

    name: strict.Text
    """As the checkpoint calls itself."""
    source: strict.Text
    """"starter", a name on the hub, or the folder that it was loaded from."""
    eyes: strict.Text
    """What a starter stands on, as `learn.eyes` names it."""
    audio_encoder: strict.Text
    """What it hears with, as `learn.audio_encoder` names it; "" = it hears nothing, or with the base's own."""
    frames: Annotated[int, Meta(ge=1, le=2)]
    """Pictures that it is shown."""
    objects: Annotated[tuple[strict.Text, ...], strict.Items]
    """Rows of the hazard head, in their order."""
    fingerprint: strict.Sha256
    """Of the base's weights and tokenizer (server.model.checkpoint.model_fingerprint)."""

    @classmethod
    def of(cls, base: Checkpoint) -> BaseRecord:
        """Of a base as it was loaded, before anything was trained."""
        eyes = NO_EYES
        if base.eyes is not None:
            eyes = PACKAGED if base.eyes.detector is not None else base.eyes.backbone.name
        source = str(base.model.name_or_path)
        shipped = base.eyes is not None or Path(source).parent == Path(__file__).parent
        ear = "" if base.ear is None else str(base.ear.config.name_or_path)
        if ear and Path(ear) == Path(source) / sound.FOLDER:
            ear = ""  # the base's own, which comes with it
        return cls(
            base.name,
            STARTER if shipped else source,
            eyes,
            ear,
            base.frames,
            base.objects,
            checkpoints.model_fingerprint(base),
        )


def read(folder: Path) -> BaseRecord | None:
    """The record in an adapter's folder; None where there is none: plain peft writes none.

    raises: ConfigError where it is damaged; OSError
    """
    try:
        return strict.decode(BaseRecord, (folder / FILE).read_bytes(), limit=_MOST_BYTES)
    except FileNotFoundError:
        return None
    except MessageError as error:
        raise ConfigError(
            f"{folder / FILE} cannot be read: {error}",
            hint="Copy the adapter anew, or remove this file and name its base with --base.",
        ) from error
