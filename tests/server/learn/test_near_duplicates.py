"""Moments of one walk that look alike and have the same label weigh as one, and all of them are seen in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from server import walks
from server.dataset import alike, derived
from server.dataset.sample_row import SampleRow
from server.learn import lora
from server.learn.examples import Rows, ViewPlan
from tests.server.dataset.moments import House, moment
from tests.server.learn.parts import layout, shot


def row(number: int, *, walk: str = "w", truth: str = "Stop, curb ahead.", frame: str = "") -> SampleRow:
    return SampleRow(
        row_id=f"m-{number}#2",
        sample_id=f"m-{number}",
        frame_path=frame or f"frames/{number}.jpg",
        audio_path="",
        instruction="",
        timestamp=float(number),
        device="d",
        walk_id=walk,
        ground_truth=truth,
        reviewed=True,
    )


def test_a_picture_that_was_damaged_and_brightened_is_alike_and_another_scene_is_not() -> None:
    rng = np.random.default_rng(1)
    other = 0
    for seed in range(12):
        image = shot(seed).image
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
        again = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        assert again is not None
        noisy = (again.astype(float) * 1.1 + rng.normal(0, 2, again.shape)).clip(0, 255).astype(np.uint8)
        assert (alike.dhash(image) ^ alike.dhash(noisy)).bit_count() <= 4
        other += (alike.dhash(image) ^ alike.dhash(shot(seed + 100).image)).bit_count() <= 4
    assert other == 0


def test_a_walkers_steps_are_no_near_duplicates_and_a_standstill_is_one() -> None:
    walk = walks.walk_from_name("town", seed=3, duration_s=10.0)
    walking = [alike.dhash(walks.render_frame(walk, float(t), 320, 240).image) for t in np.arange(0.5, 10.0, 2.0)]
    standing = [alike.dhash(walks.render_frame(walk, 3.0 + n / 100, 320, 240).image) for n in range(4)]
    rows = [row(n) for n in range(9)]
    found = alike.clusters(rows, [*walking, *standing], within=4)
    assert len(set(found[:5])) == 5
    assert len(set(found[5:])) == 1


def test_another_walk_or_another_label_is_another_moment() -> None:
    rows = [row(0), row(1), row(2, walk="v"), row(3, truth=""), row(4)]
    assert alike.clusters(rows, [7, 7, 7, 7, None], within=4) == [0, 0, 2, 3, 4]
    assert alike.clusters(rows, [7] * 5, within=4) == alike.clusters(rows, [7] * 5, within=4)


def test_an_epoch_takes_as_much_of_a_cluster_as_of_a_single_moment() -> None:
    lots = [np.arange(0, 8), np.arange(8, 12), np.arange(12, 16)]
    order = lora.in_weighed_epochs(lots, 240, np.random.default_rng(1))
    drawn = Counter(order.tolist())
    per_lot = [sum(drawn[place] for place in lot.tolist()) for lot in lots]
    assert per_lot == [80, 80, 80]
    assert {drawn[place] for place in range(8)} == {10}, "each of its pictures is seen as often as the others"
    assert len(lora.in_weighed_epochs(lots, 7, np.random.default_rng(1))) == 7
    assert len(lora.in_weighed_epochs(lots, 0, np.random.default_rng(1))) == 0


def test_rows_without_near_duplicates_are_drawn_as_ever(tmp_path: Path) -> None:
    rows, plan = [row(n) for n in range(3)], ViewPlan(4, seed=7)
    assert Rows(tmp_path, rows, layout(), plan).lots is None
    assert Rows(tmp_path, rows, layout(), replace(plan, clusters=[0, 1, 2])).lots is None
    weighed = Rows(tmp_path, rows, layout(), replace(plan, clusters=[0, 0, 2]))
    assert [lot.tolist() for lot in weighed.lots or ()] == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11]]
    assert weighed.moments == 2


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    for n in range(3):
        house.send(moment(n, seed=0))
    yield house
    house.close()


def test_a_picture_is_hashed_once_and_erasing_a_moment_forgets_the_hashes(house: House) -> None:
    rows = house.dataset.rows()
    assert alike.clusters_of(house.home, house.dataset.folder, rows, within=4) == [0, 0, 0]
    file = derived.folder(house.home) / alike.FILE
    before = file.stat().st_mtime_ns
    assert alike.clusters_of(house.home, house.dataset.folder, rows, within=4) == [0, 0, 0]
    assert file.stat().st_mtime_ns == before
    file.write_text("{torn")
    assert alike.clusters_of(house.home, house.dataset.folder, [*rows, row(9, frame="frames/none.jpg")], within=4) == [
        0,
        0,
        0,
        3,
    ]
    derived.forget(house.home)
    assert not file.exists()
