"""High dynamic range and wide primaries as an ordinary film shows them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.film import hdr

WHITE_SIGNAL = {hdr.HLG: 0.75, hdr.PQ: 0.5807}
"""Diffuse white, ITU-R BT.2408."""


def patch(red: float, green: float, blue: float) -> NDArray[np.uint16]:
    return np.full((2, 2, 3), (red * 65535, green * 65535, blue * 65535), np.uint16)


def shown(patch: NDArray[np.uint16], transfer: int, primaries: int = hdr.BT2020) -> list[int]:
    return [int(value) for value in hdr.to_ordinary(patch, transfer=transfer, primaries=primaries)[0, 0]]


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_greys_stay_grey_black_stays_black_and_white_comes_to_83_percent(transfer: int) -> None:
    assert shown(patch(0, 0, 0), transfer) == [0, 0, 0]
    white = shown(patch(*[WHITE_SIGNAL[transfer]] * 3), transfer)
    assert max(white) - min(white) <= 1
    assert white[0] == pytest.approx(0.83 * 255, abs=4)


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_brighter_than_white_stays_apart_from_white(transfer: int) -> None:
    levels = [shown(patch(*[signal] * 3), transfer)[0] for signal in np.linspace(0, 1, 21)]
    assert levels == sorted(levels)
    assert levels[-1] >= shown(patch(*[WHITE_SIGNAL[transfer]] * 3), transfer)[0] + 35


@pytest.mark.parametrize("primaries", [hdr.BT2020, hdr.P3])
def test_white_is_the_same_in_all_primaries_and_a_wide_red_is_redder(primaries: int) -> None:
    assert hdr.to_bt709(primaries) @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-3)
    dull = patch(0.6, 0.4, 0.4)
    red, green, _ = shown(dull, 1, primaries)
    assert red - green > round(0.6 * 255) - round(0.4 * 255)


def test_known_points_of_the_curves() -> None:
    # ST 2084: 10,000 cd/m² at 1, 100 at 0.508; BT.2100 HLG: the scene's 1/12 at 0.5.
    pq, hlg = hdr._light(hdr.PQ), hdr._light(hdr.HLG)
    assert pq[-1] * hdr.WHITE_NITS == pytest.approx(10_000, rel=1e-3)
    assert pq[round(0.5081 * 4095)] * hdr.WHITE_NITS == pytest.approx(100, rel=0.01)
    assert hlg[round(0.5 * 4095)] == pytest.approx(1 / 12, rel=0.01)


def test_the_table_says_what_the_formulas_say() -> None:
    image = np.random.default_rng(4).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    fast = hdr.to_ordinary(image, transfer=hdr.HLG, primaries=hdr.BT2020).astype(int)
    exact = hdr.exactly(image, transfer=hdr.HLG, primaries=hdr.BT2020).astype(int)
    assert np.abs(fast - exact).mean() < 2
    assert np.percentile(np.abs(fast - exact), 99) <= 8


def test_ordinary_films_are_ordinary() -> None:
    assert hdr.is_ordinary(1, 1)
    assert hdr.is_ordinary(2, 2)
    assert not hdr.is_ordinary(1, hdr.P3)
    assert not hdr.is_ordinary(hdr.PQ, 1)
