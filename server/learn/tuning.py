"""Fine-tuning on clips: LoRA on the decoder, the connector at a rate of its own, the tower frozen.

    rows of `clips` → k pictures of each (`shown`) → ids in the base's chat template → datasets.Dataset → Trainer
        → after every epoch the loss on clips that do not teach; the best adapter is kept, and no better one for
          `patience` epochs ends it
        → an adapter as plain peft loads it, beside it finetune.json and a card

Apart from the nights: nothing is registered, and no night starts from it unless its task is guidance (`tasks`). What
was cut off goes on from its last save.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from server.learn import saves
from server.learn.clips import ClipRow, Clips, one_task
from server.learn.lora import CONNECTOR, LINEARS
from server.learn.shown import ClipTiles, prepare
from server.learn.tasks import ABOUT_FILE
from server.model import chat
from server.model.checkpoint import Checkpoint, fingerprint
from server.model.guide import IGNORE
from server.model.topk import Selection
from shared import atomic
from shared.errors import ConfigError, DatasetError, Refused
from shared.preprocess import normalise

HELD_FROM = 5
"""Fewer clips than this are not split: each teaches, and nothing is measured."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a fine-tuning does; `server.learn.presets` has values for it."""

    epochs: float = 3.0
    rate: float = 1e-4
    """Highest learning rate of the adapters."""
    connector_rate: float = 2e-5
    """Highest learning rate of the connector, in a parameter group of its own."""
    rank: int = 16
    alpha: int = 32
    batch: int = 8
    """Clips of one forward pass."""
    accumulate: int = 2
    """Forward passes of one step."""
    max_length: int = 2048
    """Tokens of a clip's pictures, question and answer; a longer answer is cut."""
    top_k: int = 4
    """Pictures of a clip that are shown."""
    select: Selection = "features"
    """How they are chosen."""
    precision: str = "auto"
    """auto: bf16 on a GPU that can, else float32; bf16: the same, and said where it cannot be; float32."""
    gradient_checkpointing: bool = False
    held_share: float = 0.1
    """Share of the clips that do not teach but show how well it goes."""
    patience: int = 3
    threads: int = 2
    seed: int = 7

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Tuning:
        """Of a preset's values those that a fine-tuning on clips has."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a fine-tuning gave."""

    rows: int
    held: int
    losses: tuple[float, ...]
    """Of each epoch, on the clips that did not teach."""
    left_out: tuple[tuple[str, str], ...]


def tune(
    base: Checkpoint,
    sets: Sequence[Clips],
    tuning: Tuning,
    out: Path,
    *,
    projector: Path | None = None,
    progress: Progress = print,
) -> Tuned:
    """Fine-tune `base` in place and write its adapter to `out`, whole or not at all.

    projector: weights for the connector to start from; None = those that the base has
    raises: ConfigError, DatasetError where there is nothing to teach; OSError
    """
    torch.manual_seed(tuning.seed)
    torch.set_num_threads(tuning.threads)
    check(out, force=True)
    task, rows = one_task(sets), [row for clips in sets for row in clips.rows]
    _project(base, projector, progress)
    work = out.with_name(f"{out.name}.work")
    shown, unread = prepare(
        [row.media for row in rows], base, work / "tiles", k=tuning.top_k, select=tuning.select, progress=progress
    )
    rows, gone = _readable(rows, unread)
    encoded, too_long = _encoded(base, rows, shown, tuning)
    left_out = [*itertools.chain.from_iterable(clips.left_out for clips in sets), *gone, *too_long]
    if not encoded:
        raise DatasetError("There is nothing to teach: no clip can be used.", hint="Above is why, clip by clip.")
    held = held_back([row.media for row in rows], tuning.held_share)
    parts = _parted(encoded, [row.media in held for row in rows])
    steps = work / _key(base, rows, tuning) / "steps"
    model, best = _model(base, tuning), _Best(steps.parent / "best", tuning.patience, progress)
    _train(model, parts, _Collate(base, shown), tuning, (steps, best, progress))
    about = {"format": 1, "task": task, "base": base.name, "tuning": asdict(tuning), "datasets": _names(sets)}
    about |= {"system": rows[0].system, "question": rows[0].question, "validation": best.losses}
    _write(model, best.folder, out, about)
    atomic.remove_tree(work)
    return Tuned(len(parts[0]), len(parts[1]), tuple(best.losses), tuple(left_out))


def _names(sets: Sequence[Clips]) -> list[str]:
    return [clips.file.parent.name for clips in sets]


def _readable(
    rows: Sequence[ClipRow], unread: Iterable[tuple[int, str]]
) -> tuple[list[ClipRow], list[tuple[str, str]]]:
    """The rows whose clip could be read, and the others' names with why."""
    gone = {at: (rows[at].name, why) for at, why in unread}
    return [row for at, row in enumerate(rows) if at not in gone], list(gone.values())


def check(out: Path, *, force: bool) -> None:
    """Raises: Refused where `out` may not be written: it holds something else, or an adapter that is not to go."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise Refused(f"{out} is not a folder.", hint="Name a new folder.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / ABOUT_FILE).is_file():
        raise Refused(f"{out} holds other files.", hint="Name a new or an empty folder.")
    if not force:
        raise Refused(f"{out} holds an adapter.", hint="Name a new folder, or replace it with --force.")


def held_back(media: Sequence[Path], share: float) -> set[Path]:
    """The clips that do not teach, drawn by hash of their names: the same every time. Pure."""
    distinct = sorted(set(media), key=lambda path: (hashlib.sha256(path.name.encode()).digest(), str(path)))
    if len(distinct) < HELD_FROM or share <= 0:
        return set()
    return set(distinct[: max(1, round(share * len(distinct)))])


def _project(base: Checkpoint, projector: Path | None, progress: Progress) -> None:
    """A connector of its own is optional: a base that is whole has one. SmolVLM has one for video and pictures."""
    if projector is None:
        progress("Using video projector from base model checkpoint")
        progress("Using image projector from base model checkpoint")
        return
    connector = base.model.model.connector
    try:
        given = {name.rpartition("connector.")[2]: value for name, value in load_file(projector).items()}
        connector.load_state_dict(given)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{projector} is no connector of this base: {str(error).splitlines()[0]}",
            hint="Leave --projector out to use the base's own.",
        ) from None
    progress(f"Using video projector from {projector}")


def _encoded(
    base: Checkpoint, rows: Sequence[ClipRow], shown: ClipTiles, tuning: Tuning
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """{"row", "ids", "answer": where that begins} of each row, and the names of those that are too long, with why."""
    most = min(tuning.max_length, int(base.model.config.text_config.max_position_embeddings))
    encoded, too_long = list[dict[str, Any]](), list[tuple[str, str]]()
    for place, row in enumerate(rows):
        asked = chat.asked(
            base.tokenizer,
            base.model.config,
            row.question,
            frames=shown.spans[place][1],
            image_tokens=base.image_tokens,
            system=row.system,
        )
        if len(asked) >= most:
            too_long.append(
                (row.name, f"its pictures and question alone have {len(asked)} tokens, {most} are the most")
            )
            continue
        answer = chat.answer_ids(base.tokenizer, row.answer, base.end_id)
        encoded.append({"row": place, "ids": [*asked, *answer][:most], "answer": len(asked)})
    return encoded, too_long


def _parted(encoded: Sequence[dict[str, Any]], held: Sequence[bool]) -> list[list[dict[str, Any]]]:
    """What teaches, what is held back."""
    return [[one for one in encoded if held[one["row"]] == wanted] for wanted in (False, True)]


class _Collate:
    """Rows of one batch → what a SmolVLM takes; a clip with fewer pictures is filled up with black ones' zeros."""

    def __init__(self, base: Checkpoint, shown: ClipTiles) -> None:
        self._base, self._shown = base, shown

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        longest, side = max(len(row["ids"]) for row in rows), self._base.preprocessing.size_px
        most = max(self._shown.spans[row["row"]][1] for row in rows)
        ids = torch.full((len(rows), longest), self._base.end_id)
        labels, mask = torch.full_like(ids, IGNORE), torch.zeros_like(ids)
        pixels = torch.zeros(len(rows), most, 3, side, side)
        for place, row in enumerate(rows):
            length = len(row["ids"])
            ids[place, :length] = torch.tensor(row["ids"])
            labels[place, row["answer"] : length] = ids[place, row["answer"] : length]
            mask[place, :length] = 1
            tiles = torch.from_numpy(normalise(self._shown.of(row["row"]), self._base.preprocessing))
            pixels[place, : len(tiles)] = tiles
        return {"input_ids": ids, "labels": labels, "attention_mask": mask, "pixel_values": pixels}


def _model(base: Checkpoint, tuning: Tuning) -> Any:
    """The base with untaught adapters; all else but the connector frozen."""
    config = LoraConfig(
        r=tuning.rank, lora_alpha=tuning.alpha, target_modules=LINEARS, modules_to_save=[CONNECTOR], lora_dropout=0.0
    )
    return get_peft_model(base.model, config)


def _train(
    model: Any,
    parts: Sequence[Sequence[Mapping[str, Any]]],
    collate: _Collate,
    tuning: Tuning,
    run: tuple[Path, _Best, Progress],
) -> None:
    """parts: rows that teach, rows held back"""
    steps, best, progress = run
    teaching, held = (datasets.Dataset.from_list([dict(row) for row in part]) if part else None for part in parts)
    if held is None:
        progress(f"fewer than {HELD_FROM} clips: all of them teach, nothing is measured")
    trainer = Trainer(
        model=model,
        args=_arguments(steps, tuning, measured=held is not None, progress=progress),
        train_dataset=teaching,
        eval_dataset=held,
        data_collator=collate,
        optimizers=(_optimiser(model, tuning), None),
        callbacks=[best, saves.Saves()],
    )
    trainer.remove_callback(PrinterCallback)  # `best` tells how it goes; stdout is for what was asked for
    resumed = saves.last(steps)
    trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))


def _optimiser(model: Any, tuning: Tuning) -> torch.optim.Optimizer:
    taught = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    groups = [
        {"params": [value for name, value in taught if "modality_projection" not in name], "lr": tuning.rate},
        {"params": [value for name, value in taught if "modality_projection" in name], "lr": tuning.connector_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=0.0)


def _arguments(steps: Path, tuning: Tuning, *, measured: bool, progress: Progress) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    half = tuning.precision != "float32" and gpu and torch.cuda.is_bf16_supported()
    if tuning.precision == "bf16" and not half:
        progress("bf16: there is no GPU here that computes in it, so float32 is used")
    return TrainingArguments(
        output_dir=str(steps),
        num_train_epochs=tuning.epochs,
        per_device_train_batch_size=tuning.batch,
        per_device_eval_batch_size=tuning.batch,
        gradient_accumulation_steps=tuning.accumulate,
        learning_rate=tuning.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        max_grad_norm=1.0,
        bf16=half,
        use_cpu=not gpu,
        activation_checkpointing=tuning.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if tuning.gradient_checkpointing else None,
        eval_strategy="epoch" if measured else "no",
        save_strategy="epoch",
        logging_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=tuning.seed,
        dataloader_pin_memory=False,
    )


class _Best(TrainerCallback):
    """Keeps the adapter with the lowest loss on what is held back, and ends the training where none gets lower."""

    def __init__(self, folder: Path, patience: int, progress: Progress) -> None:
        self.folder, self._patience, self._progress = folder, patience, progress
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What was measured before a save that is gone on from."""
        self.losses = [float(logs["eval_loss"]) for logs in state.log_history if "eval_loss" in logs]

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = float(kwargs["metrics"]["eval_loss"])
        self.losses.append(loss)
        self._progress(f"epoch {state.epoch:.0f}: loss {loss:.4f} on the clips that do not teach")
        if loss <= min(self.losses):
            save_adapter(kwargs["model"], self.folder)
        best = self.losses.index(min(self.losses))
        if len(self.losses) - 1 - best >= self._patience:
            self._progress(f"no lower loss for {self._patience} epochs: this is enough")
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._progress(f"step {state.global_step}/{state.max_steps}, loss {float(logs['loss']):.4f}")


def save_adapter(model: Any, folder: Path) -> None:
    """As peft writes it, whole or not at all. Raises: OSError."""
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    model.save_pretrained(str(temp), save_embedding_layers=False)
    atomic.remove_tree(folder)
    atomic.move(temp, folder)


def _write(model: Any, best: Path, out: Path, about: Mapping[str, Any]) -> None:
    """The adapter that did best, what it is, and a card."""
    if not best.is_dir():
        save_adapter(model, best)
    atomic.write_json(best / ABOUT_FILE, about)
    atomic.write_bytes(best / "README.md", _card(about, model).encode())
    atomic.remove_tree(out)
    atomic.make_dirs(out.parent)
    atomic.move(best, out)


def _card(about: Mapping[str, Any], model: Any) -> str:
    base = model.peft_config["default"].base_model_name_or_path
    losses = ", ".join(f"{loss:.4f}" for loss in about["validation"]) or "not measured"
    return _CARD.format(base=base, task=about["task"], datasets=", ".join(about["datasets"]), losses=losses)


def _key(base: Checkpoint, rows: Sequence[ClipRow], tuning: Tuning) -> str:
    """What a training that was cut off is gone on with under: the same base, rows and recipe."""
    told = [[row.name, str(row.media), row.question, row.system, row.answer] for row in rows]
    text = json.dumps([fingerprint(base), told, asdict(tuning)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_CARD = """\
---
base_model: {base}
library_name: peft
---
# An adapter for {base}

Fine-tuned for {task} on {datasets}. Loss after each epoch on clips that did not teach: {losses}.

    from peft import PeftModel
    from transformers import AutoModelForImageTextToText
    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained("{base}"), "FOLDER OF THIS FILE")

`finetune.json` says how many pictures of a clip it was shown, how they are chosen, and what it was asked.
"""
