"""The detector says what the original graph says, finds what is in real pictures, learns and exports."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from exporters.onnx.quiet import quiet
from server.eyes import ssd_mobilenet
from server.eyes.ssd_mobilenet import SsdMobileNet, SsdOutput
from tests.paths import DATA
from tests.server.eyes.sight import Box, area, detect, overlap, pixels

STILLS, STREETS = DATA / "stills", DATA / "streets" / "train"
with_pictures = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent")
CAR = ("Car", "Vehicle")


def noise() -> Tensor:
    """The picture that the original graph was shown for the figures below, [1, 3, 300, 300]."""
    drawn = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous()


# What the TensorFlow Lite file says of that picture in its own runtime (ai-edge-litert 2.3.0).
ORIGINAL = {
    "offsets": {
        0: (-2.6429, -2.6368, -80.5804, -80.5806),
        1082: (-0.8915, -0.3743, -1.7808, -0.9966),
        1500: (0.1889, -0.8918, 0.4624, -2.1606),
        1700: (1.3059, 0.3495, -2.0847, 1.3442),
        1800: (0.9295, -0.7763, 0.9938, -1.7278),
        1880: (-1.4431, -0.0994, -1.0948, 1.3831),
        1915: (-0.0065, -0.0711, -2.468, 0.9732),
    },
    "class_logits": {
        0: (1.2442, -4.5321, -5.208, -5.0047),
        1082: (6.1493, -6.4762, -7.3127, -6.1253),
        1500: (5.849, -6.4515, -6.1201, -5.9575),
        1700: (4.7166, -5.8109, -6.0656, -5.4152),
        1800: (5.5567, -5.9943, -5.4422, -5.6997),
        1880: (3.5262, -3.9152, -4.4197, -4.4425),
        1915: (3.7653, -4.4461, -4.3564, -4.2585),
    },
}
# (map, channel, row, column) → value; and the mean of each map's magnitudes
ORIGINAL_MAPS = {
    ("c3", 3, 0, 0): 2.8139, ("c3", 7, -1, -1): -1.4979, ("c3", 11, 5, 3): -1.3837, ("c3", 2, -1, 0): 0.4473,
    ("c4", 3, 0, 0): -10.6746, ("c4", 7, -1, -1): -0.102, ("c4", 11, 5, 3): -1.4241, ("c4", 2, -1, 0): 2.6273,
}  # fmt: skip
ORIGINAL_MEANS = {"c3": 2.3467357, "c4": 1.4354265, "c5": 0.17866337}


def test_boxes_and_logits_are_those_of_the_original_graph(
    network: SsdMobileNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw: dict[str, Tensor] = {}
    decode = ssd_mobilenet.decode

    def kept(offsets: Tensor, anchors: Tensor) -> Tensor:
        raw["offsets"] = offsets
        return decode(offsets, anchors)

    monkeypatch.setattr(ssd_mobilenet, "decode", kept)
    with torch.inference_mode():
        raw["class_logits"] = network(noise()).class_logits
    for name, rows in ORIGINAL.items():
        for row, values in rows.items():
            assert raw[name][0, row, :4].tolist() == pytest.approx(values, abs=5e-4), (name, row)


def test_the_feature_maps_are_those_of_the_original_graph(network: SsdMobileNet) -> None:
    with torch.inference_mode():
        seen = network(noise())
    for (name, channel, row, column), value in ORIGINAL_MAPS.items():
        assert float(getattr(seen, name)[0, channel, row, column]) == pytest.approx(value, abs=5e-4)
    for name, value in ORIGINAL_MEANS.items():
        assert float(getattr(seen, name).abs().mean()) == pytest.approx(value, rel=1e-4)


def test_every_output_has_the_shape_it_promises() -> None:
    with torch.inference_mode():
        seen = SsdMobileNet().eval()(noise().repeat(2, 1, 1, 1))
    shapes = [tuple(each.shape) for each in seen]
    assert shapes == [
        (2, 32, 38, 38),
        (2, 96, 19, 19),
        (2, 320, 10, 10),
        (2, 1280, 10, 10),
        (2, 1917, 4),
        (2, 1917, 24),
    ]
    for each in seen:
        torch.testing.assert_close(each[0], each[1])


@pytest.mark.parametrize("size_px", [ssd_mobilenet.SMALLEST_PX, 224, 255])
def test_smaller_pictures_have_fewer_anchors_and_the_same_weights(size_px: int) -> None:
    small = SsdMobileNet(size_px).eval()
    small.load_state_dict(SsdMobileNet().state_dict())
    with torch.inference_mode():
        seen = small(torch.zeros(1, 3, size_px, size_px))
    assert seen.boxes.shape == (1, len(small.anchors), 4)
    assert seen.class_logits.shape[1] == len(small.anchors) < 1917
    centres = small.anchors[:, :2]
    assert 0.0 < float(centres.min()) < float(centres.max()) < 1.0


# Boxes as a person would draw them: y and x of the upper left corner, then of the lower right one.
@with_pictures
@pytest.mark.parametrize(
    ("picture", "labels_wanted", "drawn"),
    [
        ("stills/peds_2.jpg", ("Person",), (0.31, 0.74, 0.69, 0.88)),
        ("stills/peds_2.jpg", ("Person",), (0.23, 0.0, 0.59, 0.07)),
        ("stills/city_0.jpg", CAR, (0.48, 0.0, 0.88, 0.115)),
        ("stills/room_0.jpg", ("Chair",), (0.36, 0.07, 0.8, 0.41)),
        ("stills/room_2.jpg", ("Chair",), (0.38, 0.05, 1.0, 0.6)),
        ("stills/room_4.jpg", ("Chair",), (0.23, 0.17, 0.9, 0.43)),
        ("stills/room_4.jpg", ("Laptop",), (0.26, 0.41, 0.52, 0.67)),
        ("streets/train/frames/0001TP_008160.jpg", CAR, (0.56, 0.5, 0.81, 0.76)),
        ("streets/train/frames/0006R0_f03240.jpg", CAR, (0.47, 0.0, 0.78, 0.18)),
        ("streets/train/frames/0006R0_f03240.jpg", CAR, (0.485, 0.67, 0.62, 0.81)),
        ("streets/train/frames/0016E5_06990.jpg", CAR, (0.51, 0.68, 0.68, 0.84)),
        ("streets/train/frames/0016E5_08580.jpg", ("Person",), (0.43, 0.94, 0.71, 1.0)),
    ],
)
def test_what_is_in_a_picture_is_boxed_where_it_is(
    network: SsdMobileNet, labels: tuple[str, ...], picture: str, labels_wanted: Sequence[str], drawn: Box
) -> None:
    things = detect(network, labels, DATA / picture)
    best = max((overlap(each.box, drawn) for each in things if each.label in labels_wanted), default=0.0)
    assert best >= 0.7, things


@with_pictures
def test_most_vehicles_that_are_near_are_found_at_their_place(network: SsdMobileNet, labels: tuple[str, ...]) -> None:
    """Masks that hold several cars have one place in the labels, so that not all can agree."""
    rows = [json.loads(line) for line in (STREETS / "labels.jsonl").read_text().splitlines()][::15]
    found = []
    for row in rows:
        things = detect(network, labels, STREETS / row["frame_path"])
        boxes = [each.box for each in things if each.label in CAR and area(each.box) < 0.7]
        for thing in row["objects"]:
            if thing["object"] == "vehicle" and 0.005 < thing["area"] < 0.3:
                here = [box for box in boxes if box[1] - 0.02 < thing["cx"] < box[3] + 0.02]
                found.append(any(abs(box[2] - thing["bottom"]) < 0.06 for box in here))
    assert len(found) >= 25
    assert sum(found) / len(found) >= 0.6


@with_pictures
def test_nothing_on_a_trail_is_a_car_or_a_chair(network: SsdMobileNet, labels: tuple[str, ...]) -> None:
    for name in ("trail_0", "trail_2", "trail_4", "trail_6"):
        things = detect(network, labels, STILLS / f"{name}.jpg", above=0.4)
        assert [each for each in things if each.label in (*CAR, "Chair") and area(each.box) < 0.7] == [], name


def test_every_weight_learns(network: SsdMobileNet) -> None:
    network.train()
    seen = network(noise())
    (seen.class_logits.square().mean() + seen.boxes.square().mean()).backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@with_pictures
def test_lora_changes_nothing_at_first_and_then_learns(network: SsdMobileNet) -> None:
    picture = pixels(STILLS / "peds_2.jpg")
    with torch.inference_mode():
        before = network(picture)
    pointwise = re.compile(r"blocks\.\d+\.(?:expand|project)\.conv")
    names = [name for name, _ in network.named_modules() if pointwise.fullmatch(name)]
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, target_modules=names), network)
    with torch.inference_mode():
        torch.testing.assert_close(network(picture).class_logits, before.class_logits)
    taught = [weight for weight in network.parameters() if weight.requires_grad]
    assert 0 < sum(weight.numel() for weight in taught) < 500_000
    optimiser, wanted, losses = torch.optim.AdamW(taught, lr=1e-3), torch.zeros_like(before.class_logits), []
    for _ in range(4):
        loss = binary_cross_entropy_with_logits(network(picture).class_logits, wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own gap
        optimiser.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def test_onnxruntime_says_the_same(network: SsdMobileNet, tmp_path: Path) -> None:
    file = tmp_path / "eyes.onnx"
    with quiet():
        program = torch.onnx.export(network, (noise(),), dynamo=True, output_names=list(SsdOutput._fields))
    assert program is not None
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [each.shape for each in session.get_inputs()] == [[1, 3, 300, 300]]
    got = session.run(None, {session.get_inputs()[0].name: noise().numpy()})
    with torch.inference_mode():
        want = network(noise())
    for name, one, other in zip(SsdOutput._fields, got, want, strict=True):
        assert np.abs(one - other.numpy()).max() <= 1e-4 * max(1.0, float(other.abs().max())), name
