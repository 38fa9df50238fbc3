"""The starter's bundle, loaded once for all tests here, and the plain way to decode it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.runtime import GuidanceModel
from tests.shared.runtime.plain import Listed, WholePrompt


@pytest.fixture(scope="package")
def model(starter_bundle: Path) -> GuidanceModel:
    return GuidanceModel.load(starter_bundle, threads=1, allow_demo=True)


@pytest.fixture(scope="package")
def whole(starter_bundle: Path) -> WholePrompt:
    return WholePrompt(starter_bundle)


@pytest.fixture(scope="package")
def listed(starter_bundle: Path) -> Listed:
    return Listed(starter_bundle)
