"""The starter: a walking-guidance model of a few million parameters, trained from nothing on rendered walks.

    make starter      (python -m server.learn.starter)

One story: build the tokenizer and a tiny SmolVLM, render frames without end, supervise the tower densely from the
renderer's exact masks beside the language loss (a tower trained through the language loss alone stays on the language
prior: 0.06 of instructions right after 500 steps against 0.72), save under 10 MB, and write the model card with what
was measured on frames it never saw. Two classes are left out on purpose: the demo teaches one of them.

First single frames, in which nearly everything drawn is within reach; then mostly frames of walks, in which most is
not: what learnt from single frames alone warned 3.4 times a minute of nothing.

Ctrl-C saves nothing; the last checkpoint written every SAVE_EVERY steps under build/starter is continued from there.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.data import DataLoader
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from server import walks
from server.learn.batches import Example, Layout, RenderedStream, collate
from server.model import checkpoint as checkpoints
from server.model import tokens
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide, LossWeights
from shared import prompt, vocabulary
from shared.preprocess import Preprocessing

NAME = "waycue-starter-1"
FOLDER = Path(__file__).parent / "starter_model"
SAVE_EVERY = 250
SEED = 2026
MOST_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training, with a warm-up and a cosine of its own."""

    steps: int
    rate: float
    """The highest learning rate."""
    walks_share: float
    """Of the frames."""
    hazard: float
    """Weight of the hazard loss."""


PHASES = (Phase(3150, 1e-3, 0.0, 0.15), Phase(2500, 5e-4, 0.7, 0.3))


VISION = {
    "hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 6, "num_attention_heads": 6, "image_size": 128,
    "patch_size": 16,
}  # fmt: skip
TEXT = {
    "model_type": "llama", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 32, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
}  # fmt: skip


def build() -> Checkpoint:
    """The starter's classes and sizes, weights at random: 4.1 M parameters with the hazard head."""
    torch.manual_seed(SEED)
    tokenizer = tokens.build()
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in prompt.SPECIAL_TOKENS}  # type: ignore[arg-type]
    special = {"bos_token_id": ids[prompt.START], "eos_token_id": ids[prompt.END], "pad_token_id": ids[prompt.END]}
    config = SmolVLMConfig(
        image_token_id=ids[prompt.IMAGE],
        tie_word_embeddings=False,
        scale_factor=2,
        vision_config=VISION,
        text_config={**TEXT, "vocab_size": len(tokenizer), **special},
    )
    model = SmolVLMForConditionalGeneration(config)
    preprocessing = Preprocessing(size_px=128, fit="stretch")
    objects = tuple(vocabulary.load().objects)
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        head=checkpoints.new_head(model, preprocessing, objects),
        preprocessing=preprocessing,
        name=NAME,
        intended_use="demo",
        objects=objects,
        known=walks.KNOWN,
    )


def train(out: Path, *, batch: int, workers: int, console: Console, resume: bool) -> Checkpoint:
    """Train from nothing (or from the last save under build/) for PHASES, on batches of fresh frames."""
    partial = Path("build/starter")
    done, optimiser = 0, None
    if resume and (partial / "progress.pt").exists():
        starter, progress = checkpoints.load(partial / "model"), torch.load(partial / "progress.pt", weights_only=True)
        done, optimiser = int(progress["step"]), progress["optimiser"]
    else:
        starter = build()
    starter.model.set_attn_implementation("eager")  # at 64 patches twice as fast on a CPU as fused attention

    def save(step: int, optimiser: Mapping[str, Any] | None) -> None:
        checkpoints.save(starter, partial / "model")
        torch.save({"step": step, "optimiser": optimiser}, partial / "progress.pt")

    begins = 0
    for phase in PHASES:
        if begins <= done < begins + phase.steps:
            frames = _frames(starter, phase, batch=batch, workers=workers, seed=SEED + done)
            _train(starter, phase, frames, (begins, done, optimiser), save, console)
            done, optimiser = begins + phase.steps, None
            save(done, None)
        begins += phase.steps
    checkpoints.save(starter, out, dtype=torch.float16)
    return checkpoints.load(out)


def _frames(starter: Checkpoint, phase: Phase, *, batch: int, workers: int, seed: int) -> Iterator[list[Example]]:
    stream = RenderedStream(Layout.of(starter), objects=walks.KNOWN, seed=seed, walks_share=phase.walks_share)
    return iter(
        DataLoader(
            stream,
            batch_size=batch,
            num_workers=workers,
            collate_fn=_list,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
        )
    )


def _train(
    starter: Checkpoint,
    phase: Phase,
    frames: Iterator[list[Example]],
    where: tuple[int, int, Mapping[str, Any] | None],
    save: Callable[[int, Mapping[str, Any]], None],
    console: Console,
) -> None:
    """The rest of one phase. where: the step it begins at, steps done, and the optimiser's state then."""
    begins, done, state = where
    guide = Guide(starter, LossWeights(language=1.0, patch=1.0, hazard=phase.hazard)).train()
    optimiser = torch.optim.AdamW(groups(guide), lr=phase.rate, betas=(0.9, 0.98))
    if state is not None:
        optimiser.load_state_dict(dict(state))
    started, means = time.monotonic(), dict[str, float]()
    for step in range(done, begins + phase.steps):
        for group in optimiser.param_groups:
            group["lr"] = phase.rate * schedule(step - begins, phase.steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = guide(collate(next(frames), starter))
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(guide.parameters(), 1.0)
        optimiser.step()
        for name, value in losses.items():
            means[name] = 0.95 * means.get(name, value.item()) + 0.05 * value.item()
        if step % 50 == 49:
            rate_now = (step + 1 - done) / (time.monotonic() - started)
            text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            console.print(f"step {step + 1}/{begins + phase.steps}  {text}  {rate_now:.2f} steps/s")
        if (step + 1) % SAVE_EVERY == 0:
            save(step + 1, optimiser.state_dict())


def _list(examples: list[Example]) -> list[Example]:
    return examples


def schedule(step: int, steps: int) -> float:
    """200 steps of warm-up, then a cosine down to a fiftieth."""
    warm = min(1.0, (step + 1) / 200)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def groups(guide: Guide) -> list[dict[str, object]]:
    """Weight decay on matrices only."""
    decay = [p for p in guide.parameters() if p.ndim >= 2]
    plain = [p for p in guide.parameters() if p.ndim < 2]
    return [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="make starter", description="Train the starter from nothing on rendered walks and write its model card."
    )
    add = parsed.add_argument
    add("--batch", type=int, default=64, help="frames a batch (default %(default)s)")
    add("--workers", type=int, default=1, help="processes that render (default %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads that train (default %(default)s)")
    add("--out", type=Path, default=FOLDER, help="where the checkpoint goes (default: where it ships)")
    add("--fresh", action="store_true", help="ignore a half-trained starter under build/")
    add("--card-only", action="store_true", help="measure the checkpoint that is there and write its card anew")
    return parsed


def main() -> None:
    from server.learn import card

    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    console = Console()
    if not options.card_only:
        train(options.out, batch=options.batch, workers=options.workers, console=console, resume=not options.fresh)
    training = "\n".join(
        f"{phase.steps} steps of {options.batch} freshly rendered frames, {phase.walks_share:.0%} of them of walks."
        for phase in PHASES
    )
    card.write(options.out, training=training, progress=console.print)
    size = sum(file.stat().st_size for file in options.out.iterdir())
    console.print(f"{options.out}: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        raise SystemExit(f"The starter must have at most {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main()
