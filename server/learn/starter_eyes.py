"""The starter over pretrained eyes: what stands on the frozen backbone is trained on rendered walks.

    python -m server.learn.starter_eyes --home HOME      (HOME has eyes: waycue-server models add eyes)

    draw DRAWN frames as the eyes see them (server.learn.drawings), beside it train on what is there already:
    the tower's layers, hazard and ground head, connector, decoder (which begins as the plain starter's)
    → what is familiar → checkpoint without the backbone → model card

Ctrl-C loses at most SAVE_EVERY steps: it goes on from build/starter_eyes. 6 GB of disk, an hour on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from exporters.onnx.frozen import frozen
from server import walks
from server.eyes import classes, packaged
from server.eyes.ssd_tokens import SsdTokens
from server.learn import drawings
from server.learn.batches import Layout, drawn, pad_answers
from server.learn.nightly import EYES_STARTER_FOLDER, STARTER_FOLDER
from server.learn.starter import SEED, VISION, groups, schedule
from server.model import checkpoint as checkpoints
from server.model import eyes_tower
from server.model.checkpoint import Checkpoint
from server.model.guide import Batch, Guide, LossWeights
from shared import atomic
from shared.preprocess import Preprocessing, normalise

NAME = "waycue-starter-eyes-1"
WORK = Path("build/starter_eyes")
SHARDS = 77
"""Of drawings.SHARD frames; every second one of walks."""
STEPS, BATCH, RATE, SAVE_EVERY = 3600, 64, 1e-3, 250
LAYERS = 3
"""Of the tower, over the eyes."""
WALKS_FIRST, WALKS_LATER, LATER_FROM = 0.25, 0.65, 0.4
"""Share of frames that are of walks: at first few, in which nearly everything is out of reach; later most."""
FAMILIAR_SHARDS, RECORDED_FRAMES = 20, 3000


def build(eyes: packaged.Eyes) -> Checkpoint:
    """Untaught but for the decoder, which has the words already."""
    plain = checkpoints.load(STARTER_FOLDER)
    torch.manual_seed(SEED)
    old, grid = plain.model.config, SsdTokens.grid
    px = eyes.record.input_px
    config = SmolVLMConfig(
        image_token_id=old.image_token_id,
        tie_word_embeddings=False,
        scale_factor=old.scale_factor,
        vision_config={**VISION, "image_size": px, "patch_size": px // grid, "num_hidden_layers": LAYERS},
        text_config=old.text_config.to_dict(),
    )
    model = SmolVLMForConditionalGeneration(config)
    for part in ("model.text_model", "model.connector", "lm_head"):
        model.get_submodule(part).load_state_dict(plain.model.get_submodule(part).state_dict())
    preprocessing = Preprocessing(px)
    return Checkpoint(
        model=model,
        tokenizer=plain.tokenizer,
        head=checkpoints.new_head(model, preprocessing, plain.objects),
        preprocessing=preprocessing,
        name=NAME,
        intended_use="demo",
        objects=plain.objects,
        known=walks.KNOWN,
        eyes=eyes_tower.give(model, eyes.network, classes.objects(eyes.record.labels)),
    )


def draw(home: Path, folder: Path, shards: int) -> None:
    """Draw what is not there yet. Raises: ConfigError where there are no eyes; OSError."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    base = build(packaged.load(home))
    assert base.eyes is not None
    see = frozen(base.eyes.embeddings.backbone, base.preprocessing.size_px)
    for number in range(shards):
        drawings.draw(folder, number, see, Layout.of(base), seed=SEED, of_walks=number % 2 == 1)


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


def train(home: Path, out: Path, *, threads: int, console: Console, shards: int = SHARDS) -> None:
    """Draw and train until STEPS, going on from what an earlier run saved. Raises: ConfigError, OSError."""
    torch.set_num_threads(threads)
    eyes = packaged.load(home)
    drawer = multiprocessing.get_context("spawn").Process(target=draw, args=(home, WORK / "drawn", shards), daemon=True)
    drawer.start()
    base, done, state = _begun(eyes)
    assert base.eyes is not None
    frames = Frames(base, WORK / "drawn")
    while not len(frames):
        if not drawer.is_alive():
            raise SystemExit("Nothing could be drawn: see above.")
        time.sleep(1.0)
        frames.refresh()
    mean, scale = drawings.scale(WORK / "drawn")
    base.eyes.embeddings.mean.copy_(mean)
    base.eyes.embeddings.scale.copy_(scale)
    base.model.set_attn_implementation("eager")
    _train(base, frames, done, state, console)
    drawer.join()
    _familiar(base)
    checkpoints.save(base, out, dtype=torch.float16)


def _begun(eyes: packaged.Eyes) -> tuple[Checkpoint, int, Mapping[str, Any] | None]:
    """The model, the steps done, and the optimiser's state then."""
    if not (WORK / "progress.pt").exists():
        return build(eyes), 0, None
    progress = torch.load(WORK / "progress.pt", weights_only=True)
    return checkpoints.load(WORK / "model", eyes=eyes), int(progress["step"]), progress["optimiser"]


def _train(base: Checkpoint, frames: Frames, done: int, state: Mapping[str, Any] | None, console: Console) -> None:
    assert base.eyes is not None
    guide = Guide(base, LossWeights(hazard=0.3)).train()
    optimiser = torch.optim.AdamW(groups(guide), lr=RATE, betas=(0.9, 0.98))
    if state is not None:
        optimiser.load_state_dict(dict(state))
    began, means = time.monotonic(), dict[str, float]()
    for step in range(done, STEPS):
        if step % 50 == 0:
            frames.refresh()
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(step, STEPS)
        later = step >= LATER_FROM * STEPS
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = guide(frames.batch(BATCH, walks_share=WALKS_LATER if later else WALKS_FIRST))
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(guide.parameters(), 1.0)
        optimiser.step()
        means |= {name: 0.95 * means.get(name, value.item()) + 0.05 * value.item() for name, value in losses.items()}
        if step % 50 == 0:
            text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            rate = (step + 1 - done) / (time.monotonic() - began)
            console.print(f"step {step + 1}/{STEPS}  {text}  {rate:.2f} steps/s  {len(frames)} shards")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == STEPS:
            checkpoints.save(base, WORK / "model")
            with atomic.writing(WORK / "progress.pt") as file:
                torch.save({"step": step + 1, "optimiser": optimiser.state_dict()}, file)


def _familiar(base: Checkpoint) -> None:
    """Familiar are the frames that taught, and frames as large as a camera's, some of which tell where far begins."""
    eyes, rng = base.eyes, np.random.default_rng([SEED, RECORDED_FRAMES])
    assert eyes is not None
    shards = [shard for number, shard in sorted(drawings.read(WORK / "drawn").items()) if number < FAMILIAR_SHARDS]
    see = frozen(eyes.embeddings.backbone, base.preprocessing.size_px)
    layout, means = Layout.of(base), list[NDArray[np.float32]]()
    for example in itertools.islice(drawn(rng, walks.KNOWN, layout, walks_share=WALKS_LATER), RECORDED_FRAMES):
        tokens = torch.from_numpy(see(normalise(example.tile, base.preprocessing)[None]))
        means.append(eyes.embeddings.standardised(tokens).mean(1).numpy())
    recorded, held_out = np.concatenate(means), np.arange(RECORDED_FRAMES) % 4 == 3
    taught = [drawings.summaries(shard) for shard in shards]
    eyes.familiar.fit(np.concatenate([*taught, recorded[~held_out]]), recorded[held_out])


def main() -> None:
    from server.learn import card

    parsed = argparse.ArgumentParser(prog="python -m server.learn.starter_eyes", description=__doc__)
    parsed.add_argument("--home", type=Path, required=True, help="a server's home that has the packaged eyes")
    parsed.add_argument("--threads", type=int, default=1, help="CPU threads that train (default %(default)s)")
    parsed.add_argument("--out", type=Path, default=EYES_STARTER_FOLDER, help="where the checkpoint goes")
    parsed.add_argument("--card-only", action="store_true", help="measure the checkpoint that is there, write its card")
    options = parsed.parse_args()
    console = Console()
    if not options.card_only:
        train(options.home, options.out, threads=options.threads, console=console)
    training = (
        f"{STEPS} steps of {BATCH} of {SHARDS * drawings.SHARD} rendered frames, {WALKS_FIRST:.0%} of them of walks in "
        f"the first {LATER_FROM:.0%} of the steps,\n{WALKS_LATER:.0%} later; half have another hue, gamma and grain."
    )
    card.write(options.out, training=training, progress=console.print, eyes=packaged.load(options.home))


if __name__ == "__main__":
    main()
