"""Weights are read whole, or the file is refused."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest
import torch

from server.eyes import tflite_weights
from server.eyes.packaged import LABELS_BYTES
from server.eyes.ssd_mobilenet import SsdMobileNet
from shared.errors import BundleError

MUTATED = 60


@pytest.fixture(scope="module")
def model(assets: bytes) -> bytes:
    return assets[LABELS_BYTES:]


def test_every_weight_of_the_network_is_there(model: bytes) -> None:
    state = tflite_weights.state_dict(model)
    SsdMobileNet().load_state_dict(state)  # strict: all of them, and no other
    assert sum(weight.numel() for weight in state.values()) == 4_951_996
    assert {weight.dtype for weight in state.values()} == {torch.float32}
    assert [name for name, weight in state.items() if not weight.any()] == []


@pytest.mark.parametrize("length", [0, 3, 8, 200, 100_000, 5_000_000, -4000])
def test_a_file_that_was_cut_off_is_refused(model: bytes, length: int) -> None:
    with pytest.raises(BundleError, match=r"not a whole TensorFlow Lite file|lack"):
        tflite_weights.state_dict(model[:length])


def test_another_model_is_refused(tarball: Path) -> None:
    """The same package brings four whole models of another network."""
    with tarfile.open(tarball) as archive:
        other = archive.extractfile("package/object_detection_3d_chair.tflite")
        assert other is not None
        with pytest.raises(BundleError, match="lack stem"):
            tflite_weights.state_dict(other.read())


def test_no_model_at_all_is_refused(tarball: Path) -> None:
    with pytest.raises(BundleError, match="not a whole TensorFlow Lite file"):
        tflite_weights.state_dict(tarball.read_bytes()[:100_000])


def test_a_weight_under_another_name_is_missing(model: bytes) -> None:
    renamed = model.replace(b"expanded_conv_7/project/BatchNorm", b"expanded_conv_7/proj3ct/BatchNorm")
    with pytest.raises(BundleError, match=r"lack blocks\.7\.project\.conv\.bias"):
        tflite_weights.state_dict(renamed)


def test_a_weight_of_another_shape_is_refused(model: bytes) -> None:
    """The shape of the first convolution, where it stands as four 32-bit numbers with their count before."""
    shape = b"".join(number.to_bytes(4, "little") for number in (4, 32, 3, 3, 3))
    assert model.count(shape) >= 1
    turned = b"".join(number.to_bytes(4, "little") for number in (4, 3, 3, 3, 32))
    with pytest.raises(BundleError, match=r"is .*, not|not a whole"):
        tflite_weights.state_dict(model.replace(shape, turned))


@pytest.mark.timeout(300)
def test_altered_bytes_are_read_as_weights_or_refused_and_nothing_else(model: bytes) -> None:
    """Offsets, counts and lengths lie at the end of the file, behind the weights."""
    chance, refused = random.Random(20), 0
    for _ in range(MUTATED):
        altered = bytearray(model)
        for _ in range(chance.choice((1, 8, 64))):
            at = chance.randrange(len(model) - 120_000, len(model) - 4)
            altered[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", chance.randbytes(4)))
        try:
            state = tflite_weights.state_dict(bytes(altered))
        except BundleError:
            refused += 1
        else:
            SsdMobileNet().load_state_dict(state)
    assert refused > MUTATED // 4
