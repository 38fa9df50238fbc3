"""Small real parts: a checkpoint of the hub's shape with random weights, labelled pictures, a reviewed dataset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, WhisperConfig, WhisperForConditionalGeneration

from server import walks
from server.learn import nightly
from server.learn.batches import Example, Layout, from_sentence
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model import tokens
from server.model.checkpoint import FIELD_TILE_PX
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import prompt, vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from tests.server.dataset.moments import House, Moment, moment, part, sound

SENTENCES = (
    "Stop, curb ahead.", "Caution, pole on the left.", "Caution, pole on the right.", "Stop, vehicle ahead.",
)  # fmt: skip


def save_field_checkpoint(folder: Path, *, tied: bool = False) -> Path:
    """What the hub holds: save_pretrained's files and no waycue.json. 16 patches, 4 image tokens, random weights."""
    torch.manual_seed(3)
    tokenizer = tokens.build()
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in prompt.SPECIAL_TOKENS}  # type: ignore[arg-type]
    config = SmolVLMConfig(
        image_token_id=ids[prompt.IMAGE],
        tie_word_embeddings=tied,
        scale_factor=2,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": FIELD_TILE_PX,
            "patch_size": FIELD_TILE_PX // 4,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 128,
            "bos_token_id": ids[prompt.START],
            "eos_token_id": ids[prompt.END],
            "pad_token_id": ids[prompt.END],
            "initializer_range": 0.2,
        },
    )
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_whisper(folder: Path, *, positions: int = 150) -> Path:
    """What the hub holds: a whole Whisper, encoder and decoder, with random weights; 150 positions are 3 s."""
    torch.manual_seed(4)
    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=32,
        max_source_positions=positions,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def tone(hertz: float, *, seconds: float = 2.0) -> NDArray[np.float32]:
    """A horn, near enough."""
    at = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sign(np.sin(2 * np.pi * hertz * at))).astype(np.float32)


@cache
def shot(seed: int, want: str | None = None) -> walks.Rendered:
    """A small rendered frame, the same for the same seed."""
    return walks.random_frame(np.random.default_rng([55, seed]), objects=walks.DRAWN, want=want)


def layout() -> Layout:
    """The starter's layout, without loading its weights."""
    from shared.preprocess import Preprocessing

    return Layout(tuple(vocabulary.load().objects), Preprocessing(128), 16)


def examples(count: int, of: checkpoints.Checkpoint) -> list[Example]:
    """Flat pictures, one colour a sentence: what any model can learn in a few steps."""
    return [from_sentence(flat(n), SENTENCES[n % len(SENTENCES)], Layout.of(of)) for n in range(count)]


def flat(n: int) -> NDArray[np.uint8]:
    """uint8 [48, 64, 3]: colour by sentence, brightness by number."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, n % 3] = 120 + 10 * n if n % 4 < 3 else 60
    return image


def reviewed_home(home: Path, *, walks_of: dict[str, int], first: int = 0, **changes: Any) -> Path:
    """A server's folder in which a person has confirmed cones: `walks_of` says how many moments each walk has.

    first: number of the first moment; changes: fields of the moments, e.g. their device
    """
    house = House(home)
    number = first
    for walk, count in walks_of.items():
        for _ in range(count):
            house.send(cone_moment(number, walk, **changes))
            number += 1
    for row in house.dataset.rows():
        if row.reviewed:
            continue
        truth = shot(int(row.sample_id[-6:]), "cone").instruction
        decisions.review(house.store, house.dataset, row.sample_id, ReviewDecision("edit", "Eve", truth), now_s=1.0)
    house.close()
    return home


def cone_moment(number: int, walk: str, **changes: Any) -> Moment:
    """A chunk whose picture is a rendered cone and whose words missed it."""
    seen = shot(number, "cone")
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(seen.image, cv2.COLOR_RGB2BGR))
    payloads = {"frame": jpeg.tobytes(), "audio": sound(0)}
    parts = tuple(part(kind, data) for kind, data in payloads.items())
    return Moment(moment(number, walk_id=walk, parts=parts, **changes).record, payloads)


def confirmed_home(home: Path, moments: Sequence[tuple[bytes, str]], *, walk: str = "w", first: int = 0) -> Path:
    """A server's folder with a confirmed moment for each (JPEG, sentence); "" = nothing should be said.

    first: number of the first one: several calls fill one folder
    """
    house = House(home)
    for number, (jpeg, _) in enumerate(moments, start=first):
        payloads = {"frame": jpeg, "audio": sound(0)}
        parts = tuple(part(kind, data) for kind, data in payloads.items())
        house.send(Moment(moment(number, walk_id=walk, parts=parts).record, payloads))
    for row in house.dataset.rows()[first:]:
        text = moments[int(row.sample_id[-6:]) - first][1]
        action = "edit" if text else "nothing"
        decisions.review(house.store, house.dataset, row.sample_id, ReviewDecision(action, "Eve", text), now_s=1.0)
    house.close()
    return home


def small_night(home: Path, base: Path, *, said: list[str] | None = None) -> nightly.Night:
    """A night of four steps."""
    settings = LearnSettings(base=str(base), steps=4, new_rows_least=2, threads=1)
    return nightly.retrain(home, settings=settings, progress=(said if said is not None else []).append)
