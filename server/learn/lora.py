"""One night's training: LoRA on the decoder, connector and hazard head beside it, towers frozen. Of a tower that
stands on pretrained eyes only these are frozen, and its layers have adapters too.

    rows + replay → tower features, once, into a memory-mapped array → Trainer → adapter on disk → merged model

From *base + full replay*, so that errors do not add up; or for some nights on from the last one's adapter, with replay
of the base's frames and of the rows that taught it (server.learn.going_on). The towers are frozen, so what they make of
a picture or sound is computed once; the steps then cost only connector, decoder and head, and the projection and gate
of what is heard.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments

from server.dataset.feature_cache import FeatureCache
from server.evaluation.stages import Stages
from server.learn import base_record, devices
from server.learn.batches import Example
from server.learn.features import TrainingSet, Work, cache_of, prepare, settle_on
from server.learn.recipe import Recipe
from server.learn.saves import Saves, TaughtOnly, last
from server.learn.validation import Validation, validated
from server.learn.views import JoinedViews, Rows, Views, views_of
from server.learn.watching import Curves, Deadline, Losses
from server.model import eyes_tower, sound
from server.model.checkpoint import HEAD_FILE, Checkpoint
from server.model.guide import Guide, LossWeights
from shared import atomic
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError

LINEARS = r".*text_model\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
ON_EYES = r".*vision_model\.encoder.*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
"""The layers of a tower between frozen eyes and the connector: they adapt too, the eyes themselves do not."""
CONNECTOR = r"modality_projection.proj"
OLDER_SHARE = 0.5
"""Of what the dataset gives to a night that goes on: rows that taught before."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a night's training gave."""

    loss_first: float
    """Mean loss of the first tenth of the steps."""
    loss_last: float
    """Mean loss of the last tenth."""
    steps: int
    """How many were taken: fewer where it stopped early or ran out of time."""
    validation: tuple[Mapping[str, float], ...] = ()
    """Of each epoch: step, eval_loss and eval_slot_f1 on rows that did not teach."""
    drawn: int = 0
    """Distinct places that the steps drew."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a training may use beside its folder."""

    cache: FeatureCache | None = None
    """Features of earlier nights; None = a cache in the night's own folder."""
    logs: Path | None = None
    """Where TensorBoard finds its curves."""
    seconds_most: float | None = None
    """The training ends at the step at which it has taken so long."""
    clock: Clock = field(default_factory=SystemClock)
    stages: Stages = field(default_factory=Stages)
    """Where its seconds are added up."""
    goes_on_from: Path | None = None
    """An adapter of this base and recipe, with what was taught beside it; None = the base as it is."""


def train(
    base: Checkpoint,
    fresh: Views | Sequence[Example],
    replay: Views | Sequence[Example],
    recipe: Recipe,
    folder: Path,
    *,
    older: Views | Sequence[Example] = (),
    masked: Sequence[Example] = (),
    held: Views | Sequence[Example] = (),
    around: Surroundings | None = None,
    progress: Progress = lambda text: None,
) -> Trained:
    """Train `base` in place and leave it merged, on the CPU; adapter and head are saved under `folder`/adapter.

    fresh: the dataset's pictures with their variations; replay: what must not be forgotten; older: pictures of the
    dataset that taught the adapter which is gone on from, half of the dataset's share; masked: what teaches the ground
    alone; held: what is held back to see how well it goes on
    A training that was cut off goes on from its last save under `folder`/steps.
    raises: OSError, ConfigError, DatasetError
    """
    around = around or Surroundings()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    of_base = base_record.BaseRecord.of(base)
    cache = around.cache or cache_of(base, folder / "features", progress=progress)
    device = devices.chosen(recipe.device)
    work = Work(folder, progress, device)
    adapted = _begun(base, recipe, around.goes_on_from)
    guide = Guide(base, LossWeights(language=1.0, patch=0.3, hazard=0.15), brief=not recipe.gradient_checkpointing)
    views = JoinedViews([views_of(lot) for lot in (fresh, older, replay, masked, held)])
    taught, places = len(fresh) + len(older) + len(replay), range(len(views) - len(held), len(views))
    lots = _lots(fresh), _lots(older)
    order = _order(len(fresh), len(replay), recipe, older=len(older), masked=len(masked), lots=lots)
    # What is familiar is fitted on all that was replayed, so of a base with eyes all of it is looked at.
    wanted = [*order.tolist(), *(range(taught) if base.eyes is not None else ()), *places]
    with around.stages.stage("towers"):
        prepared = prepare(guide, base, views, wanted, cache, work)
    rows = TrainingSet(base, prepared, order)
    losses = Losses(recipe.steps, progress)
    moments = sum(lot.moments if isinstance(lot, Rows) else len(lot) for lot in (fresh, older))
    epoch = recipe.epoch_steps(moments, replay=len(replay) > 0)
    checks = Validation(guide, rows, places, recipe, work, epoch_steps=epoch)
    watching = [losses, *([checks] if len(held) else []), *_watching(around, progress)]
    trainer = _trainer(guide, rows, recipe, _arguments(folder, recipe, device), watching)
    with around.stages.stage("train"):
        trainer.train(resume_from_checkpoint=_str(last(folder / "steps")))
    steps, history = int(trainer.state.global_step), validated(trainer.state.log_history)
    del trainer
    devices.bring_home(base, guide)
    if len(held):
        checks.restore_best(history)
    settle_on(base, prepared, range(taught))
    save_adapter(adapted, base, folder / "adapter", recipe, of_base)
    base.model.tie_weights()  # as they were; does nothing where the config does not say so
    adapted.merge_and_unload()
    _at_rest(base, guide)
    return Trained(losses.mean(first=True), losses.mean(first=False), steps, history, len(np.unique(order)))


def _at_rest(base: Checkpoint, guide: Guide) -> None:
    model: Any = base.model
    model.activation_checkpointing_disable()
    guide.eval()


def adapt(base: Checkpoint, recipe: Recipe) -> Any:
    """`base` with adapters on its layers, everything else frozen: peft's model around it, in place."""
    for parameter in base.model.parameters():
        parameter.requires_grad_(False)
    layers = targets(base) + (rf"|.*{CONNECTOR}" if recipe.connector == "lora" else "")
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=layers,
        modules_to_save=[CONNECTOR] if recipe.connector == "full" else None,
        lora_dropout=recipe.dropout,
        use_dora=recipe.dora,
        use_rslora=recipe.rslora,
    )
    _untie(base)
    adapted = get_peft_model(base.model, config)
    if recipe.gradient_checkpointing:
        base.model.activation_checkpointing_enable()
    return adapted


def _begun(base: Checkpoint, recipe: Recipe, goes_on_from: Path | None) -> Any:
    """`adapt`, with the weights of the night that is gone on from. Raises: as `restore`."""
    adapted = adapt(base, recipe)
    if goes_on_from is not None:
        restore(adapted, base, goes_on_from)
    return adapted


def restore(adapted: Any, base: Checkpoint, folder: Path) -> None:
    """Give a base with new adapters the weights that a night saved, and what it taught beside them.

    raises: ConfigError where they do not fit; OSError
    """
    found: Any = set_peft_model_state_dict(adapted, load_file(folder / "adapter_model.safetensors"))
    missing = [name for name in found.missing_keys if ".lora_" in name or ".modules_to_save." in name]
    if found.unexpected_keys or missing:
        raise ConfigError(
            f"The adapter in {folder} does not fit {base.name}: {[*found.unexpected_keys, *missing][0]}",
            hint="Begin from the base: waycue-server retrain --force",
        )
    base.head.load_state_dict(load_file(folder / HEAD_FILE))
    if base.ear is not None:
        sound.load_projection(base.ear, folder / sound.PROJECTION_FILE)
    if base.eyes is not None:
        eyes_tower.load(base.eyes, folder)


def _watching(around: Surroundings, progress: Progress) -> list[Any]:
    """What saves a training, ends it in time, and draws its curves where these are wanted."""
    curves = [] if around.logs is None else [Curves(around.logs)]
    return [Saves(), Deadline(around.seconds_most, around.clock, progress), *curves]


def _trainer(
    guide: Guide, rows: TrainingSet, recipe: Recipe, arguments: TrainingArguments, callbacks: list[Any]
) -> Trainer:
    optimiser = torch.optim.AdamW(_groups(guide, recipe), weight_decay=0.01, fused=True)
    trainer = TaughtOnly(
        model=guide,
        args=arguments,
        train_dataset=rows,
        data_collator=rows.collate,
        optimizers=(optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(recipe.steps))),
        callbacks=callbacks,
    )
    _silence(trainer)
    return trainer


def _arguments(folder: Path, recipe: Recipe, device: torch.device) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder / "steps"),
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        max_steps=recipe.steps,
        learning_rate=recipe.rate,
        max_grad_norm=1.0,
        logging_steps=max(1, recipe.steps // 20),
        save_steps=max(1, recipe.steps // 4),
        report_to=[],
        disable_tqdm=True,
        use_cpu=device.type == "cpu",
        bf16=devices.bf16(device, recipe.precision),
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


def _lots(fresh: Views | Sequence[Example]) -> list[NDArray[np.int64]] | None:
    """Places of near-duplicates, where these are known."""
    return fresh.lots if isinstance(fresh, Rows) else None


def _order(
    fresh: int,
    replay: int,
    recipe: Recipe,
    *,
    older: int = 0,
    masked: int = 0,
    lots: Sequence[Sequence[NDArray[np.int64]] | None] = (None, None),
) -> NDArray[np.int64]:
    """Which place comes when: `new_share` of the rows are fresh, half of them older where there are any, each before
    any comes again; the others replay, drawn evenly; `mask_share` of all are masked instead. lots: of what is fresh and
    of what is older the places that weigh as one moment, of each moment"""
    rng = np.random.default_rng(recipe.seed)
    count = recipe.steps * recipe.batch * recipe.accumulate
    share = recipe.new_share if replay else 1.0
    new = rng.random(count) < share
    order = fresh + older + rng.integers(0, max(1, replay), count)
    draws = int(new.sum())
    again = rng.random(draws) < OLDER_SHARE if older else np.zeros(draws, np.bool_)
    drawn = np.empty(draws, np.int64)
    drawn[~again] = _drawn(fresh, int((~again).sum()), rng, lots[0])
    drawn[again] = fresh + _drawn(older, int(again.sum()), rng, lots[1])
    order[new] = drawn
    if not masked:
        return order
    others = fresh + older + replay + rng.integers(0, masked, count)
    return np.where(rng.random(count) < recipe.mask_share, others, order)


def _drawn(
    places: int, draws: int, rng: np.random.Generator, lots: Sequence[NDArray[np.int64]] | None
) -> NDArray[np.int64]:
    return _in_epochs(places, draws, rng) if lots is None else in_weighed_epochs(lots, draws, rng)


def _in_epochs(places: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[draws], every place once before any comes again."""
    epochs = [rng.permutation(places) for _ in range(-(-draws // max(1, places)))]
    return np.concatenate([*epochs, np.empty(0, np.int64)])[:draws].astype(np.int64)


def in_weighed_epochs(lots: Sequence[NDArray[np.int64]], draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[draws]: an epoch takes as many places of each lot as the smallest has, and others of it in the next one."""
    each = min(len(lot) for lot in lots)
    epochs = max(1, -(-draws // (each * len(lots))))
    decks = [
        np.concatenate([rng.permutation(lot) for _ in range(-(-epochs * each // len(lot)))])[: epochs * each]
        for lot in lots
    ]
    turns = np.stack(decks).reshape(len(lots), epochs, each).swapaxes(0, 1)
    return np.concatenate([np.empty(0, np.int64), *(rng.permutation(turn.ravel()) for turn in turns)])[:draws]


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
    return [group for group in groups if group["params"]]


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
