"""An adapter is fitted: what it learns in PyTorch is what its graph computes, and where nothing helps there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from exporters.onnx.wearer import write_adapter
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow, to_dict
from server.learn import tonight, wearer_adapters
from server.learn.wearer_fit import DecoderWords, FitPlan, LookedMoments, Pace, ScoreAdapter, WordAdapter, fit
from server.model import checkpoint as checkpoints
from server.model.guide import Guide
from shared import vocabulary
from shared.calibration import Calibration
from shared.runtime.adapter import FEATURES, LOGITS
from tests.server.learn.parts import SENTENCES

OBJECTS = tuple(vocabulary.load().objects)
SIDES = vocabulary.SIDES_SEEN
PLAN = FitPlan(OBJECTS, Calibration(), Pace(20, 3e-3), Pace(8, 1e-2))
TOKENS, WIDTH = 4, 32


def looked(count: int, *, seed: int = 1, told: bool = True) -> LookedMoments:
    """Moments of eight walks whose tokens tell which sentence is right, or tell nothing; the scores never do."""
    rng = np.random.default_rng(seed)
    signs = np.random.default_rng(9).normal(size=(len(SENTENCES), TOKENS, WIDTH))
    which = rng.integers(0, len(SENTENCES), count)
    tokens = rng.normal(0, 0.3, (count, TOKENS, WIDTH)) + (signs[which] if told else 0)
    texts = tuple(SENTENCES[n] for n in which)
    logits = np.full((count, len(OBJECTS), len(SIDES)), -2.0, np.float32)
    return LookedMoments(tokens.astype(np.float32), logits, texts, tuple(f"walk-{n % 8}" for n in range(count)))


def row(n: int, **changes: Any) -> SampleRow:
    """A confirmed moment, n seconds into the dataset."""
    given: dict[str, Any] = {
        "row_id": f"s{n}#2",
        "sample_id": f"s{n}",
        "frame_path": f"frames/{n}.jpg",
        "audio_path": "",
        "instruction": "",
        "timestamp": float(n),
        "device": "pi-1",
        "walk_id": "w-1",
        "ground_truth": SENTENCES[0],
        "reviewed": True,
    }
    return SampleRow(**{**given, **changes})


def test_scores_learn_what_the_tokens_tell_and_keep_away_from_what_nobody_spoke_of() -> None:
    own, later = looked(96), looked(40, seed=2)
    fitted = fit(own, own.some([]), PLAN, words=None)
    assert fitted.scores.loss < 0.5 * fitted.scores.loss_before
    after = applied(fitted.weights, later)
    curb = [n for n, text in enumerate(later.texts) if "curb" in text]
    at = OBJECTS.index("curb"), SIDES.index("ahead")
    assert after[curb, *at].min() > max(after[n, *at] for n in range(len(later)) if n not in curb)
    unsaid = OBJECTS.index("door")
    assert np.abs(after[:, unsaid] - later.logits[:, unsaid]).max() < 0.5


def applied(weights: Mapping[str, NDArray[np.float32]], some: LookedMoments) -> NDArray[np.float32]:
    scorer = ScoreAdapter(TOKENS, WIDTH, len(OBJECTS), len(SIDES))
    scorer.load_state_dict({name: torch.from_numpy(weights[name]) for name in scorer.state_dict()})
    with torch.no_grad():
        after: torch.Tensor = scorer(torch.from_numpy(some.tokens), torch.from_numpy(some.logits))
        return np.asarray(after.numpy(), np.float32)


def test_words_of_a_decoder_that_knew_nothing_become_more_probable_through_the_tokens_alone(base: Path) -> None:
    of = checkpoints.load(base)
    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    own = looked(64)
    fitted = fit(own, own.some([]), PLAN, words=DecoderWords(Guide(of), of.answer_ids))
    assert fitted.words is not None
    assert fitted.words.epoch > 0
    assert fitted.words.loss < fitted.words.loss_before
    assert all(torch.equal(value, before[name]) for name, value in of.model.state_dict().items())
    strict = replace(PLAN, words=replace(PLAN.words, epochs=2, needed=0.0))
    hardly = fit(own, own.some([]), strict, words=DecoderWords(Guide(of), of.answer_ids))
    assert hardly.words is not None
    assert hardly.words.epoch == 0, "a little better is not enough where more was asked for"
    assert not hardly.weights["up"].any()


def test_the_graph_computes_what_was_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    scorer, worder = ScoreAdapter(TOKENS, WIDTH, len(OBJECTS), len(SIDES)), WordAdapter(WIDTH)
    with torch.no_grad():
        for value in (*scorer.parameters(), *worder.parameters()):
            value.copy_(torch.from_numpy(rng.normal(size=value.shape)))
    named = (*scorer.named_parameters(), *worder.named_parameters())
    write_adapter({name: value.detach().numpy() for name, value in named}, tmp_path / "a.onnx")
    some = looked(1)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    tokens, logits = session.run(None, {FEATURES: some.tokens, LOGITS: some.logits})
    with torch.no_grad():
        expected = worder(torch.from_numpy(some.tokens)), scorer(*map(torch.from_numpy, (some.tokens, some.logits)))
    np.testing.assert_allclose(tokens, expected[0].numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, expected[1].numpy(), rtol=1e-4, atol=1e-4)


def test_where_nothing_does_better_there_is_no_adapter_and_its_weights_change_nothing() -> None:
    own = looked(64, told=False)
    right = own.logits.copy()
    for n, text in enumerate(own.texts):
        slots = vocabulary.parse(text)
        assert slots is not None
        side = slots.side or "ahead"
        right[n, OBJECTS.index(slots.object)] = -12.0
        right[n, OBJECTS.index(slots.object), SIDES.index(side)] = 12.0
    known = LookedMoments(own.tokens, right, own.texts, own.walks)
    fitted = fit(known, known.some([]), PLAN, words=None)
    assert fitted.is_none
    assert np.array_equal(applied(fitted.weights, known), known.logits)


def test_a_moment_is_of_who_it_names_and_a_device_of_the_wearer_of_its_newest_moment(tmp_path: Path) -> None:
    rows = [
        row(1, speaker_id="anna", device="pi-1"),
        row(2, speaker_id="ben", device="pi-1"),
        row(3, speaker_id="anna", device="pi-2"),
        row(4, speaker_id="", device="pi-3"),
        row(5, speaker_id="anna", device="pi-2", walk_id="w-held", split="held_out"),
        row(6, speaker_id="anna", device="pi-4", reviewed=False),
        row(7, speaker_id="ben", device="pi-5"),
        row(8, speaker_id="anna", device="pi-5", reviewed=False),
    ]
    dataset = Dataset(tmp_path)
    with dataset.appending():
        dataset.append(map(to_dict, rows))
    found = {each.name: each for each in wearer_adapters.people(tonight.view_of(dataset))}
    assert {name: each.devices for name, each in found.items()} == {
        "anna": ("pi-2",),
        "ben": ("pi-1",),
        "pi-3": ("pi-3",),
    }
    assert [len(found["anna"].teaching), len(found["anna"].held)] == [2, 1]


@pytest.mark.parametrize("walks", [1, 2])
def test_of_few_walks_some_moments_still_choose(walks: int) -> None:
    own = looked(40)
    few = LookedMoments(own.tokens, own.logits, own.texts, tuple(f"w{n % walks}" for n in range(40)))
    assert fit(few, few.some([]), PLAN, words=None).scores.loss_before > 0
