"""One night's training: LoRA on the decoder, connector and hazard head beside it, towers frozen. Of a tower that
stands on pretrained eyes only these are frozen, and its layers have adapters too.

    rows + replay → tower features, once, into a memory-mapped array → Trainer → adapter on disk → merged model

Always from *base + full replay*, never from last night's adapter, so that errors do not add up. The towers are frozen,
so what they make of a picture or sound is computed once; the steps then cost only connector, decoder and head, and the
projection and gate of what is heard.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import Trainer, TrainerCallback, TrainingArguments

from server.evaluation.stages import Stages
from server.learn import base_record, saves
from server.learn.batches import Example
from server.learn.features import Shown, TrainingSet, settle, tower
from server.model import eyes_tower, sound
from server.model.checkpoint import HEAD_FILE, Checkpoint
from server.model.guide import Guide, LossWeights
from shared import atomic

LINEARS = r".*text_model\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
ON_EYES = r".*vision_model\.encoder.*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
"""The layers of a tower between frozen eyes and the connector: they adapt too, the eyes themselves do not."""
CONNECTOR = r"modality_projection.proj"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a night does. The defaults are for the starter on two cores; a GPU may take more steps."""

    rank: int = 16
    """Rank of the adapters on the decoder's linear layers."""
    alpha: int = 32
    """Scale of the adapters: alpha / rank."""
    steps: int = 240
    """Optimiser steps."""
    batch: int = 32
    """Rows a step."""
    rate: float = 2e-3
    """Highest learning rate of the adapters."""
    connector_rate: float = 5e-4
    """Highest learning rate of the connector, in a parameter group of its own."""
    head_rate: float = 2e-3
    """Highest learning rate of the hazard head, and of the ground head."""
    ear_rate: float = 2e-3
    """Highest learning rate of what turns sound into something the decoder can use, where the model hears."""
    new_share: float = 0.3
    """Share of each batch that comes from the dataset; the rest replays what the base knew."""
    masks: str = ""
    """Folders of masks of the ground (LearnSettings.masks)."""
    mask_pictures: int = 600
    """Pictures of them, at most."""
    mask_share: float = 0.15
    """Share of each batch that comes from them, where there are any."""
    variations: int = 24
    """Views of each dataset picture: mirrored, brighter, shifted, noisier …"""
    replay: int = 4000
    """Rendered frames replayed, for a base that was trained on rendered walks."""
    threads: int = 2
    """CPU threads."""
    seed: int = 7

    def draws(self, *, replay: bool) -> int:
        """How often a night draws a view of a dataset picture."""
        return math.ceil(self.steps * self.batch * (self.new_share if replay else 1.0))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a night's training gave."""

    loss_first: float
    """Mean loss of the first tenth of the steps."""
    loss_last: float
    """Mean loss of the last tenth."""
    steps: int


def train(
    base: Checkpoint,
    fresh: Sequence[Example],
    replay: Sequence[Example],
    recipe: Recipe,
    folder: Path,
    *,
    masked: Sequence[Example] = (),
    progress: Progress = lambda text: None,
    stages: Stages | None = None,
) -> Trained:
    """Train `base` in place and leave it merged; adapter and head are saved under `folder`/adapter.

    fresh: the dataset's pictures with their variations; replay: what must not be forgotten; masked: what teaches the
    ground alone
    A training that was cut off goes on from its last save under `folder`/steps.
    raises: OSError
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    of_base = base_record.BaseRecord.of(base)
    for parameter in base.model.parameters():
        parameter.requires_grad_(False)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=targets(base),
        modules_to_save=[CONNECTOR],
        lora_dropout=0.0,
    )
    _untie(base)
    adapted = get_peft_model(base.model, config)
    guide = Guide(base, LossWeights(language=1.0, patch=0.3, hazard=0.15))
    examples = [*fresh, *replay, *masked]
    shown = Shown.by(examples, frames=base.frames)
    stages = stages or Stages()
    with stages.stage("towers"):
        features = tower(guide, shown.tiles, base, folder / "features", progress=progress)
    rows = TrainingSet(base, examples, shown, features, _order(len(fresh), len(replay), recipe, masked=len(masked)))
    losses = _Losses(recipe.steps, progress)
    optimiser = torch.optim.AdamW(_groups(guide, recipe), weight_decay=0.01)
    trainer = Trainer(
        model=guide,
        args=_arguments(folder, recipe),
        train_dataset=rows,
        data_collator=rows.collate,
        optimizers=(optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(recipe.steps))),
        callbacks=[losses, saves.Saves()],
    )
    _silence(trainer)
    with stages.stage("train"):
        trainer.train(resume_from_checkpoint=_str(saves.last(folder / "steps")))
    settle(base, features, but=range(len(examples) - len(masked), len(examples)))
    save_adapter(adapted, base, folder / "adapter", recipe, of_base)
    base.model.tie_weights()  # as they were; does nothing where the config does not say so
    adapted.merge_and_unload()
    guide.eval()
    return Trained(losses.mean(first=True), losses.mean(first=False), recipe.steps)


def _arguments(folder: Path, recipe: Recipe) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder / "steps"),
        per_device_train_batch_size=recipe.batch,
        max_steps=recipe.steps,
        learning_rate=recipe.rate,
        max_grad_norm=1.0,
        logging_steps=max(1, recipe.steps // 20),
        save_steps=max(1, recipe.steps // 4),
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=[],
        seed=recipe.seed,
        dataloader_pin_memory=False,
    )


def targets(base: Checkpoint) -> str:
    """Pattern of the layers that get adapters.

    The output layer is one of them where it is not tied to the embeddings: in a small model trained from nothing, words
    it never wrote all look alike there, and a new object's name would win with a probability of 0.04.
    """
    parts = [LINEARS, *([] if base.model.config.tie_word_embeddings else ["lm_head"])]
    return "|".join([*parts, *([ON_EYES] if base.eyes is not None else [])])


def _untie(base: Checkpoint) -> None:
    """A tied output layer gets weights of its own while training: a save of shared tensors is refused."""
    head, embeddings = base.model.lm_head, base.model.get_input_embeddings()
    if head.weight is embeddings.weight:
        head.weight = torch.nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)


def save_adapter(adapted: Any, base: Checkpoint, folder: Path, recipe: Recipe, of_base: base_record.BaseRecord) -> None:
    """The adapter as peft writes it; hazard head, what was taught of hearing, ground and what is familiar,
    the recipe and which base it belongs to beside it; whole or not."""
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    adapted.save_pretrained(str(temp), save_embedding_layers=False)  # they are the base's, never trained
    save_file({k: v.detach().contiguous() for k, v in base.head.state_dict().items()}, temp / HEAD_FILE)
    if base.ear is not None:
        sound.save_projection(base.ear, temp / sound.PROJECTION_FILE)
    if base.eyes is not None:
        eyes_tower.save(base.eyes, temp, dtype=torch.float32)
    (temp / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    (temp / base_record.FILE).write_text(json.dumps(asdict(of_base), indent=1))
    atomic.remove_tree(folder)
    atomic.move(temp, folder)


class _Losses(TrainerCallback):
    def __init__(self, steps: int, progress: Progress) -> None:
        self._steps, self._progress, self._seen = steps, progress, list[float]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What was logged before a save that is gone on from."""
        self._seen = [float(logs["loss"]) for logs in state.log_history if "loss" in logs]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._seen.append(float(logs["loss"]))
            self._progress(f"LoRA step {state.global_step}/{self._steps}, loss {self._seen[-1]:.3f}")

    def mean(self, *, first: bool) -> float:
        count = max(1, len(self._seen) // 10)
        part = self._seen[:count] if first else self._seen[-count:]
        return sum(part) / max(1, len(part))


def _order(fresh: int, replay: int, recipe: Recipe, *, masked: int = 0) -> NDArray[np.int64]:
    """Which row comes when: `new_share` of the rows are fresh, drawn evenly; `mask_share` of all are masked instead."""
    rng = np.random.default_rng(recipe.seed)
    count = recipe.steps * recipe.batch
    share = recipe.new_share if replay else 1.0
    new = rng.random(count) < share
    order = np.where(new, rng.integers(0, fresh, count), fresh + rng.integers(0, max(1, replay), count))
    if not masked:
        return order
    others = fresh + replay + rng.integers(0, masked, count)
    return np.where(rng.random(count) < recipe.mask_share, others, order)


def _groups(guide: Guide, recipe: Recipe) -> list[dict[str, Any]]:
    adapters: list[torch.nn.Parameter] = []
    connector: list[torch.nn.Parameter] = []
    for name, parameter in guide.model.named_parameters():
        if parameter.requires_grad:
            (connector if "modality_projection" in name else adapters).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": adapters, "lr": recipe.rate},
        {"params": connector, "lr": recipe.connector_rate},
        {"params": list(guide.head.parameters()), "lr": recipe.head_rate},
    ]
    if guide.ground is not None:
        groups.append({"params": list(guide.ground.parameters()), "lr": recipe.head_rate})
    if guide.ear is not None:
        groups.append({"params": [p for p in guide.ear.parameters() if p.requires_grad], "lr": recipe.ear_rate})
    return groups


def _schedule(steps: int) -> Callable[[int], float]:
    """A twentieth of warm-up, then a cosine down to a twentieth."""
    warm = max(1, steps // 20)
    return lambda step: min(1.0, (step + 1) / warm) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _silence(trainer: Trainer) -> None:
    """The progress callback is the only voice."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
