"""What a fine-tuned adapter says of a clip, or its base where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from server.learn.shown import chosen
from server.learn.tasks import ABOUT_FILE
from server.model import chat
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.topk import SELECTIONS, Selection
from shared.errors import ConfigError
from shared.preprocess import normalise

Progress = Callable[[str], None]
TOKENS = 128


@dataclass(frozen=True, slots=True)
class ClipQuestion:
    """What a model is asked about a clip, and how it is shown it."""

    question: str
    system: str = ""
    top_k: int = 4
    select: Selection = "features"

    @classmethod
    def of(cls, about: Mapping[str, Any], *, question: str, system: str) -> ClipQuestion:
        """As an adapter was taught; question and system: what stands in for what it does not say."""
        tuned: Mapping[str, Any] = about.get("tuning") or {}
        named = tuned.get("select")
        select = next((one for one in SELECTIONS if one == named), SELECTIONS[-1])
        return cls(
            str(about.get("question") or question), str(about.get("system", system)), int(tuned.get("top_k", 4)), select
        )


def opened(adapter: Path | None, base: str, *, progress: Progress) -> tuple[Checkpoint, Mapping[str, Any]]:
    """A base with an adapter merged into it, or alone where there is none; and what finetune.json says of it.

    base: "" = the one that the adapter names. raises: ConfigError where there is no base, or the adapter is another's
    """
    if adapter is None or not (adapter / "adapter_config.json").is_file():
        if not base:
            raise ConfigError(f"There is no fine-tuned checkpoint at {adapter}.", hint="Name a base with --base.")
        progress(f"No fine-tuned checkpoint at {adapter}: the base model {base} answers.")
        return checkpoints.load(base), {}
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    loaded = checkpoints.load(base or config["base_model_name_or_path"])
    try:
        merged = PeftModel.from_pretrained(loaded.model, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"The adapter {adapter} does not fit the base {loaded.name}: {str(error).splitlines()[0]}",
            hint="Leave --base out to use the one that it was trained on.",
        ) from None
    loaded.model = merged
    about_file = adapter / ABOUT_FILE
    return loaded, json.loads(about_file.read_bytes()) if about_file.is_file() else {}


@torch.no_grad()
def reply(model: Checkpoint, clip: Path, asked: ClipQuestion, *, tokens: int = TOKENS) -> str:
    """What a model says of a video or picture, greedily, at most so many tokens. Raises: MediaError, DatasetError."""
    tiles = chosen(clip, model, k=asked.top_k, select=asked.select)
    ids = chat.asked(
        model.tokenizer,
        model.model.config,
        asked.question,
        frames=len(tiles),
        image_tokens=model.image_tokens,
        system=asked.system,
    )
    given = torch.tensor([ids])
    net: Any = model.model
    net.eval()
    written = net.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        pixel_values=torch.from_numpy(normalise(tiles, model.preprocessing))[None],
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=model.end_id,
        pad_token_id=model.end_id,
    )
    return str(model.tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)).strip()
