"""Teachers by name: small detectors and a depth model with random weights, and the real packaged eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation, RTDetrForObjectDetection

from server.eyes import depth, teachers
from server.eyes.teachers import DepthTeacher, DetectorTeacher, PackagedTeacher, advice, open_teachers
from shared.errors import ConfigError
from shared.jpeg import decode_picture
from shared.sight import Camera, pick
from shared.sight.boxes import SCORE_LEAST
from tests.paths import DATA
from tests.server.eyes import checkpoints
from tests.server.eyes.checkpoints import LABELS, made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint of each kind. Read only."""
    folder = tmp_path_factory.mktemp("teachers")
    for name in (*checkpoints.TEACHERS, "dinov2"):
        made(name, folder)
    return folder


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8)


def published(kind: Any, folder: Path) -> tuple[Any, Any]:
    """Model and processor as transformers loads them."""
    processors: Any = AutoImageProcessor
    return kind.from_pretrained(folder).eval(), processors.from_pretrained(folder)


def test_a_detector_sees_what_its_own_class_gives_as_shares_of_the_picture(folders: Path) -> None:
    teacher = DetectorTeacher(str(folders / "rtdetr"))
    model, processor = published(RTDetrForObjectDetection, folders / "rtdetr")
    small = processor(images=picture(), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        seen = model(**small)
    x, y, wide, high = seen.pred_boxes[0].numpy().T
    corners = np.stack([y - high / 2, x - wide / 2, y + high / 2, x + wide / 2], 1)
    scores = seen.logits[0].sigmoid()
    best = scores.flatten().topk(len(corners))  # as many pairs of box and class as there are boxes
    kept = torch.zeros_like(scores).flatten().scatter(0, best.indices, best.values).view_as(scores)
    expected = pick(corners, kept.numpy(), ("person", "vehicle", None))
    found = teacher.boxes(picture())
    assert found, "it sees something"
    assert {(box.object, round(box.score, 4)) for box in found} == {(b.object, round(b.score, 4)) for b in expected}
    ours, theirs = (
        sorted((b.object, b.left, b.top, b.right, b.bottom, b.score) for b in boxes) for boxes in (found, expected)
    )
    np.testing.assert_allclose([each[1:] for each in ours], [each[1:] for each in theirs], atol=1e-5)
    assert teacher.licence == "apache-2.0"
    assert teacher.objects == {"person", "vehicle"}


@pytest.mark.parametrize("name", ["rtdetr", "dfine", "yolos"])
def test_each_kind_of_detector_sees_and_only_what_the_vocabulary_has(name: str, folders: Path, tmp_path: Path) -> None:
    faculty = open_teachers(str(folders / name), tmp_path)
    for seed in range(3):
        said = faculty.advise(picture(seed))
        assert {name for name, _ in said.hazards} <= faculty.objects == {"person", "vehicle"}
        assert 0 <= said.score <= 1
    boxes = [box for seed in range(3) for box in faculty.teachers[0].boxes(picture(seed))]
    assert all(SCORE_LEAST <= box.score <= 1 and 0 <= box.left < box.right <= 1 for box in boxes)
    if name != "yolos":
        assert boxes


def test_a_depth_model_is_read_as_metres_or_inverse(folders: Path) -> None:
    teacher = DepthTeacher(str(folders / "depth_anything"), Camera())
    model, processor = published(DepthAnythingForDepthEstimation, folders / "depth_anything")
    inputs = processor(images=picture(), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        inverse = model(**inputs).predicted_depth[0].numpy()
    assert teacher.boxes(picture()) == depth.things(inverse, Camera(), aspect=4 / 3)
    assert teacher.objects == {"obstacle", "drop-off"}


def test_the_most_urgent_thing_is_said_and_nothing_below_the_threshold() -> None:
    both = advice({("person", "ahead"): 0.9, ("vehicle", "ahead"): 0.6, ("drop-off", "ahead"): 0.7})
    assert (both.wording, both.score) == ("Stop, drop-off ahead.", 0.7)
    faint = advice({("vehicle", "ahead"): 0.4, ("person", "ahead"): 0.2})
    assert faint.wording == ""
    assert faint.score == pytest.approx(0.6)
    assert advice({}).score == 1.0


def test_several_teachers_are_asked_together(folders: Path, tmp_path: Path) -> None:
    names = f"{folders / 'rtdetr'}, {folders / 'depth_anything'},"
    faculty = open_teachers(names, tmp_path)
    assert faculty.objects == {"person", "vehicle", "obstacle", "drop-off"}
    assert faculty.name == f"{folders / 'rtdetr'}, {folders / 'depth_anything'}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "There is no teacher. Set learn.teacher"),
        (" , ", "There is no teacher"),
        ("nobody/nothing", "'nobody/nothing' could not be loaded"),
        ("packaged", "has no eyes. Fetch them: waycue-server models add eyes"),
        ("dinov2", "is a dinov2 model: no object detector and no depth model"),
    ],
)
def test_what_is_no_teacher_is_refused_by_name(name: str, message: str, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        open_teachers(str(folders / name) if name == "dinov2" else name, tmp_path)


def test_a_detector_without_names_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.yolos(tmp_path / "yolos", ("LABEL_0", "LABEL_1"))
    with pytest.raises(ConfigError, match=r"None of the 2 labels .* \(LABEL_0, LABEL_1 …\)"):
        DetectorTeacher(str(folder))
    assert "person" in LABELS


def test_the_packaged_eyes_see_people_on_a_real_picture(added: Path) -> None:
    still = DATA / "stills" / "peds_2.jpg"
    if not still.is_file():
        pytest.skip("../shared/data is not here")
    image = decode_picture(still.read_bytes())
    assert image is not None
    faculty = open_teachers(teachers.PACKAGED, added)
    assert isinstance(faculty.teachers[0], PackagedTeacher)
    assert max(score for (name, _), score in faculty.advise(image).hazards.items() if name == "person") > 0.5
    assert faculty.advise(image).wording
    assert faculty.teachers[0].licence == "Apache-2.0"
