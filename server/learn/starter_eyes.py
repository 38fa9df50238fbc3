"""The starter over pretrained eyes: what stands on a frozen backbone is trained on rendered walks.

    python -m server.learn.starter_eyes --home HOME      (HOME has eyes: waycue-server models add eyes)

    draw frames as the backbone sees them (server.learn.drawings), beside it train on what is there already:
    the tower's layers, hazard and ground head, connector, decoder (which begins as the plain starter's)
    → what is familiar → checkpoint without the backbone

Any backbone of `server.eyes` will do: the tower's grid is the backbone's. Ctrl-C loses at most SAVE_EVERY steps and the
shard that is being drawn: the next run goes on from the folder of the work. For the packaged eyes 6 GB of disk, an hour
on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from exporters.onnx.frozen import BATCH as SEEN_AT_ONCE
from exporters.onnx.frozen import frozen
from server import walks
from server.eyes import packaged, ssd_tokens
from server.eyes.backbone import Backbone
from server.learn import drawings
from server.learn.bases import EYES_STARTER_FOLDER, STARTER_FOLDER
from server.learn.batches import Layout, drawn, pad_answers
from server.learn.drawer import Drawer, Seer
from server.learn.starter import SEED, VISION, groups, schedule
from server.model import checkpoint as checkpoints
from server.model import eyes_tower
from server.model.checkpoint import Checkpoint
from server.model.guide import Batch, Guide, LossWeights
from shared import atomic
from shared.preprocess import normalise

NAME = "waycue-starter-eyes-1"
WORK = Path("build/starter_eyes")
FRAMES = 77_000
STEPS, BATCH, RATE, SAVE_EVERY = 3600, 64, 1e-3, 250
MOST_BYTES, MOST_SHARD_BYTES = 8_000_000_000, 400_000_000
"""Of int8 tokens on the disk, and of float32 tokens of one shard in memory: where these are long, frames are fewer."""
LEAST_FRAMES = 64
"""In a shard: fewer pictures cannot say what is familiar."""
LAYERS = 3
"""Of the tower, over the eyes."""
WALKS_FIRST, WALKS_LATER, LATER_FROM = 0.25, 0.65, 0.4
"""Share of frames that are of walks: at first few, in which nearly everything is out of reach; later most."""
FAMILIAR_SHARDS, RECORDED_FRAMES = 20, 3000
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a training is, and on how much."""

    steps: int
    shards: int
    """Every second one of walks."""
    frames: int
    """In a shard."""
    recorded: int
    """Frames as large as a camera's, for what is familiar."""

    @classmethod
    def of(cls, backbone: Backbone, steps: int = STEPS) -> Plan:
        """As many frames as the full training has for so many steps, but what the disk and the memory can take."""
        token_bytes = backbone.grid**2 * backbone.dim
        frames = min(FRAMES * steps // STEPS, MOST_BYTES // token_bytes)
        in_shard = min(drawings.SHARD, MOST_SHARD_BYTES // (4 * token_bytes), frames // 2)
        in_shard = max(LEAST_FRAMES, in_shard // SEEN_AT_ONCE * SEEN_AT_ONCE)
        recorded = min(RECORDED_FRAMES, max(2 * LEAST_FRAMES, RECORDED_FRAMES * steps // STEPS))
        return cls(steps, max(2, frames // in_shard), in_shard, recorded)

    def size_bytes(self, backbone: Backbone) -> int:
        """On the disk while it lasts."""
        return self.shards * self.frames * backbone.grid**2 * (backbone.dim + 4)


def build(backbone: Backbone, *, name: str = NAME) -> Checkpoint:
    """Untaught but for the decoder, which has the words already. Raises: ConfigError where the grid does not fit."""
    plain = checkpoints.load(STARTER_FOLDER)
    torch.manual_seed(SEED)
    old, px = plain.model.config, backbone.preprocessing.size_px
    config = SmolVLMConfig(
        image_token_id=old.image_token_id,
        tie_word_embeddings=False,
        scale_factor=old.scale_factor,
        vision_config={**VISION, "image_size": px, "patch_size": px // backbone.grid, "num_hidden_layers": LAYERS},
        text_config=old.text_config.to_dict(),
    )
    model = SmolVLMForConditionalGeneration(config)
    for part in ("model.text_model", "model.connector", "lm_head"):
        model.get_submodule(part).load_state_dict(plain.model.get_submodule(part).state_dict())
    return Checkpoint(
        model=model,
        tokenizer=plain.tokenizer,
        head=checkpoints.new_head(model, backbone.preprocessing, plain.objects),
        preprocessing=backbone.preprocessing,
        name=name,
        intended_use="demo",
        objects=plain.objects,
        known=walks.KNOWN,
        eyes=eyes_tower.give(model, backbone),
    )


class Frames:
    """Batches of what is drawn so far."""

    def __init__(self, base: Checkpoint, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._shards: dict[int, drawings.Shard] = {}
        self._answers: dict[str, list[int]] = {}
        self._rng = np.random.default_rng(SEED)

    def __len__(self) -> int:
        return len(self._shards)

    def refresh(self) -> None:
        """Take what was drawn since."""
        self._shards |= drawings.read(self._folder, but=self._shards.keys())

    def batch(self, count: int, *, walks_share: float) -> Batch:
        """count: frames, a multiple of 8: eight shards give to a batch, for neighbours lie on the disk together"""
        parts = [self._some(count // 8, walks_share) for _ in range(8)]
        eyes, (tokens, patches, ground, hazards) = self._base.eyes, (_joined(parts, at) for at in range(4))
        assert eyes is not None
        texts = [text for part in parts for text in part[4]]
        self._answers |= {text: self._base.answer_ids(text) for text in texts if text not in self._answers}
        there = torch.from_numpy(hazards.astype(np.float32))
        return {
            "features": drawings.as_seen(tokens, eyes.embeddings.mean, eyes.embeddings.scale),
            "answers": pad_answers([self._answers[text] for text in texts]),
            "patch_labels": torch.from_numpy(patches.astype(np.int64)),
            "ground": torch.from_numpy(ground.astype(np.int64)),
            "hazards": there,
            "hazard_weights": torch.ones_like(there),
        }

    def _some(self, count: int, walks_share: float) -> tuple[Any, ...]:
        odd = int(self._rng.random() < walks_share)
        numbers = [number for number in self._shards if number % 2 == odd] or list(self._shards)
        shard = self._shards[numbers[int(self._rng.integers(len(numbers)))]]
        at = np.sort(self._rng.choice(len(shard.texts), count, replace=False))
        return (*(part[at] for part in shard.arrays), [shard.texts[one] for one in at])


def _joined(parts: list[tuple[Any, ...]], at: int) -> NDArray[Any]:
    return np.concatenate([part[at] for part in parts])


def train(seer: Seer, work: Path, plan: Plan, *, progress: Progress, name: str = NAME) -> Checkpoint:
    """Draw and train until the plan's steps are done, going on from what an earlier run saved under `work`.

    raises: ConfigError; Transient where nothing can be drawn; OSError
    """
    base, done, state = _begun(seer(), work, name)
    assert base.eyes is not None
    drawer = Drawer(seer, work / "drawn", Layout.of(base), shards=plan.shards, frames=plan.frames, seed=SEED)
    try:
        frames = Frames(base, work / "drawn")
        frames.refresh()
        while not len(frames):
            drawer.check()
            time.sleep(0.5)
            frames.refresh()
        mean, scale = drawings.scale(work / "drawn")
        base.eyes.embeddings.mean.copy_(mean)
        base.eyes.embeddings.scale.copy_(scale)
        base.model.set_attn_implementation("eager")
        for step, losses in _train(base, frames, plan, (done, state), work):
            if step % 50 == 0:
                drawer.check()
                progress(f"step {step + 1}/{plan.steps}  {losses}  {len(frames)} of {plan.shards} shards")
        drawer.wait()
        progress("looking at what is familiar")
        _familiar(base, work / "drawn", plan)
    finally:
        drawer.end()
    return base


def _begun(backbone: Backbone, work: Path, name: str) -> tuple[Checkpoint, int, Mapping[str, Any] | None]:
    """The model, the steps done, and the optimiser's state then."""
    if not (work / "progress.pt").exists():
        return build(backbone, name=name), 0, None
    saved = torch.load(work / "progress.pt", weights_only=True)
    return checkpoints.load(work / "model", eyes=backbone), int(saved["step"]), saved["optimiser"]


def _train(
    base: Checkpoint, frames: Frames, plan: Plan, begun: tuple[int, Mapping[str, Any] | None], work: Path
) -> Iterator[tuple[int, str]]:
    """Yields after each step its number and how the losses go. begun: steps done, and the optimiser's state then"""
    done, state = begun
    assert base.eyes is not None
    guide = Guide(base, LossWeights(hazard=0.3)).train()
    optimiser = torch.optim.AdamW(groups(guide), lr=RATE, betas=(0.9, 0.98))
    if state is not None:
        optimiser.load_state_dict(dict(state))
    means = dict[str, float]()
    for step in range(done, plan.steps):
        if step % 50 == 0:
            frames.refresh()
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(step, plan.steps)
        later = step >= LATER_FROM * plan.steps
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = guide(frames.batch(BATCH, walks_share=WALKS_LATER if later else WALKS_FIRST))
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(guide.parameters(), 1.0)
        optimiser.step()
        means |= {name: 0.95 * means.get(name, value.item()) + 0.05 * value.item() for name, value in losses.items()}
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            checkpoints.save(base, work / "model")
            with atomic.writing(work / "progress.pt") as file:
                torch.save({"step": step + 1, "optimiser": optimiser.state_dict()}, file)
        yield step, "  ".join(f"{name} {value:.3f}" for name, value in means.items())


def _familiar(base: Checkpoint, folder: Path, plan: Plan) -> None:
    """Familiar are the frames that taught, and frames as large as a camera's, some of which tell where far begins."""
    eyes, rng = base.eyes, np.random.default_rng([SEED, plan.recorded])
    assert eyes is not None
    shards = [shard for number, shard in sorted(drawings.read(folder).items()) if number < FAMILIAR_SHARDS]
    see = frozen(eyes.backbone, base.preprocessing.size_px)
    layout, means = Layout.of(base), list[NDArray[np.float32]]()
    for example in itertools.islice(drawn(rng, walks.KNOWN, layout, walks_share=WALKS_LATER), plan.recorded):
        tokens = torch.from_numpy(see(normalise(example.tile, base.preprocessing)[None]))
        means.append(eyes.embeddings.standardised(tokens).mean(1).numpy())
    recorded, held_out = np.concatenate(means), np.arange(plan.recorded) % 4 == 3
    taught = [drawings.summaries(shard) for shard in shards]
    eyes.familiar.fit(np.concatenate([*taught, recorded[~held_out]]), recorded[held_out])


def main() -> None:
    from rich.console import Console

    from server.learn import card

    parsed = argparse.ArgumentParser(prog="python -m server.learn.starter_eyes", description=__doc__)
    parsed.add_argument("--home", type=Path, required=True, help="a server's home that has the packaged eyes")
    parsed.add_argument("--threads", type=int, default=1, help="CPU threads that train (default %(default)s)")
    parsed.add_argument("--out", type=Path, default=EYES_STARTER_FOLDER, help="where the checkpoint goes")
    parsed.add_argument("--card-only", action="store_true", help="measure the checkpoint that is there, write its card")
    options = parsed.parse_args()
    torch.set_num_threads(options.threads)
    console, seer = Console(), partial(ssd_tokens.kept, options.home)
    plan = Plan.of(seer())
    if not options.card_only:
        checkpoints.save(train(seer, WORK, plan, progress=console.print), options.out, dtype=torch.float16)
    training = (
        f"{STEPS} steps of {BATCH} of {plan.shards * plan.frames} rendered frames, {WALKS_FIRST:.0%} of them of walks "
        f"in the first {LATER_FROM:.0%} of the steps,\n{WALKS_LATER:.0%} later; half have another hue, gamma and grain."
    )
    card.write(options.out, training=training, progress=console.print, eyes=packaged.load(options.home))


if __name__ == "__main__":
    main()
