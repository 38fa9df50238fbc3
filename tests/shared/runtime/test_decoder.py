"""The KV cache in place and the growing one: the same logits, however a text is cut into passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.runtime.decoder import Decoder, GrowingDecoder, InPlaceDecoder, open_decoder
from shared.runtime.language import DECODER

CAPACITY = 40
TEXT = np.random.default_rng(7).normal(size=(CAPACITY, 192)).astype(np.float32)

Make = Callable[[], Decoder]


@pytest.fixture(scope="module")
def session(starter_bundle: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(starter_bundle / DECODER))


@pytest.fixture(scope="module", params=[True, False], ids=["in place", "growing"])
def make(request: pytest.FixtureRequest, session: onnxruntime.InferenceSession) -> Make:
    return lambda: open_decoder(session, capacity=CAPACITY, wanted_most=CAPACITY, in_place=request.param)


@pytest.fixture(scope="module")
def expected(session: onnxruntime.InferenceSession) -> NDArray[np.float32]:
    """The logits of the whole text in one pass."""
    return GrowingDecoder(session).run([TEXT], wanted=CAPACITY).copy()


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12), back=st.integers(0, 5))
def test_however_a_text_is_cut_its_logits_are_the_same_to_the_bit(
    make: Make, expected: NDArray[np.float32], cuts: list[int], back: int
) -> None:
    decoder, at = make(), 0
    for count in cuts:
        end = min(CAPACITY, at + count)
        if end == at:
            break
        half = (at + end) // 2
        logits = decoder.run([TEXT[at:half], TEXT[half:end]], wanted=end - at)
        assert np.array_equal(logits, expected[at:end])
        assert decoder.kept == end
        at = max(0, end - back)
        decoder.rewind(at)
        assert decoder.kept == at


def test_only_the_last_rows_logits_are_given(make: Make, expected: NDArray[np.float32]) -> None:
    decoder = make()
    assert np.array_equal(decoder.run([TEXT[:10]], wanted=3), expected[7:10])
    assert np.array_equal(decoder.run([TEXT[10:11]], wanted=1), expected[10:11])


def test_what_was_forgotten_leaves_no_trace(make: Make, expected: NDArray[np.float32]) -> None:
    decoder = make()
    decoder.run([TEXT[:8]], wanted=1)
    decoder.run([TEXT[20:30] * 9], wanted=1)
    decoder.rewind(8)
    decoder.rewind(30)  # there is nothing to go on to
    assert decoder.kept == 8
    assert np.array_equal(decoder.run([TEXT[8:20]], wanted=12), expected[8:20])


def test_in_place_is_chosen_where_the_graph_and_the_provider_allow_it(session: onnxruntime.InferenceSession) -> None:
    def chosen(*, in_place: bool = True) -> type:
        return type(open_decoder(session, capacity=CAPACITY, wanted_most=1, in_place=in_place))

    assert chosen() is InPlaceDecoder
    assert chosen(in_place=False) is GrowingDecoder


def test_in_place_nothing_is_allocated_from_pass_to_pass(
    session: onnxruntime.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    ortvalue_from_numpy = onnxruntime.OrtValue.ortvalue_from_numpy

    def noted(array: NDArray[Any]) -> Any:
        made.append(array)
        return ortvalue_from_numpy(array)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", noted)
    decoder = InPlaceDecoder(session, capacity=CAPACITY, wanted_most=4)
    first = decoder.run([TEXT[:6]], wanted=2)
    assert made
    made.clear()
    decoder.rewind(0)
    again = decoder.run([TEXT[:6]], wanted=2)
    assert again.base is first.base
    assert made == []
