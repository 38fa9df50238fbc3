"""A bundle's test of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.errors import BundleError
from shared.runtime import check_golden
from tests.shared.runtime.altered import golden_cases, rewrite, set_golden


@pytest.fixture
def copy(starter_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))


def test_the_starter_is_fit_for_use(starter_bundle: Path) -> None:
    assert check_golden(starter_bundle) == []


def test_exchanged_pictures_are_found(copy: Path) -> None:
    cases = golden_cases(copy)
    names = [case["image"] for case in cases]
    half = len(names) // 2
    for case, name in zip(cases, names[half:] + names[:half], strict=True):
        case["image"] = name
    set_golden(copy, cases)
    wrong = check_golden(copy)
    stops = [case for case in cases if case["must_stop"]]
    assert len([text for text in wrong if "was not seen" in text]) >= len(stops) // 2
    assert any(f"of {len(cases)} golden pictures were worded right" in text for text in wrong)
    assert stops[0]["image"] in " ".join(wrong)


def test_one_missed_hazard_that_must_stop_is_enough(copy: Path) -> None:
    cases = golden_cases(copy)
    first = next(case for case in cases if case["must_stop"])
    black = np.zeros((120, 160, 3), np.uint8)
    assert cv2.imwrite(str(copy / "golden" / first["image"]), black)
    rewrite(copy)
    assert check_golden(copy) == [f"{first['image']}: {first['object']} {first['side']} was not seen"]


def test_a_blind_model_is_found(copy: Path) -> None:
    for case in golden_cases(copy):
        assert cv2.imwrite(str(copy / "golden" / case["image"]), np.zeros((120, 160, 3), np.uint8))
    rewrite(copy)
    assert len(check_golden(copy)) > sum(case["must_stop"] for case in golden_cases(copy))


def test_a_threshold_out_of_reach_is_found(copy: Path) -> None:
    rewrite(copy, thresholds={"hazard_above": 1.1, "speak_above": 0.5, "flag_below": 0.6})
    assert any("was not seen" in text for text in check_golden(copy))


def test_a_bundle_without_golden_chunks_is_not_trusted(copy: Path) -> None:
    set_golden(copy, [])
    assert check_golden(copy) == ["it has no golden chunks to test itself on"]


def test_a_golden_picture_that_is_none_is_named(copy: Path) -> None:
    (copy / "golden" / "001.jpg").write_bytes(b"no picture")
    rewrite(copy)
    assert check_golden(copy) == ["its golden picture 001.jpg cannot be read"]


def test_a_bundle_that_does_not_load_is_an_error_of_its_own(copy: Path) -> None:
    (copy / "golden" / "001.jpg").write_bytes(b"no picture")
    with pytest.raises(BundleError, match=r"golden/001\.jpg"):
        check_golden(copy)
