"""What may be taught, by key; what must be listened to; what is drawn over the picture. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.dataset.blobs import FolderBlobs
from server.dataset.sample_row import SampleRow
from server.web import choices, drawn
from tests.server.dataset.moments import picture


def row(**changes: Any) -> SampleRow:
    return SampleRow(**{**PLAIN, **changes})


PLAIN: dict[str, Any] = {
    "row_id": "s#1", "sample_id": "s", "frame_path": "frames/a.jpg", "audio_path": "audio/a.wav", "instruction": "",
    "timestamp": 1.0, "device": "pi-1", "walk_id": "w",
}  # fmt: skip
CORRECTED: dict[str, Any] = {
    "correction_id": "c", "correction_audio_path": "audio/c.wav", "transcript": "cone on the left",
    "llm_correction": "Caution, cone on the left.", "transcript_confidence": 0.62,
    "spoken": "Caution, bin ahead.", "confidence": 0.9,
}  # fmt: skip


def test_the_wearers_words_come_first_then_what_else_was_heard_then_what_networks_saw() -> None:
    found = choices.choices(
        row(
            **CORRECTED,
            teacher="yolo",
            teacher_wording="Caution, bin ahead.",
            teacher_score=0.71,
            extra={
                "transcript_choices": [
                    {"wording": "Caution, cone on the left.", "probability": 0.62},
                    {"wording": "Caution, door on the left.", "probability": 0.3},
                    "nonsense",
                ]
            },
        )
    )
    assert [(item.key, item.wording, item.proposed) for item in found] == [
        (1, "Caution, cone on the left.", True),
        (2, "Caution, door on the left.", False),
        (3, "Caution, bin ahead.", False),
    ]
    assert "heard from the wearer, 62 % sure" in found[0].told
    assert found[2].told == "yolo on this server, 71 % sure; the device, 90 % sure"


def test_what_may_not_be_taught_has_no_key() -> None:
    found = choices.choices(row(spoken="It is safe to cross. Caution, pole ahead.", raw_output="Go now"))
    assert [item.wording for item in found] == ["Caution, pole ahead."]
    assert choices.choices(row(spoken="It is safe to cross.")) == ()


def test_what_a_person_decided_has_no_choices_any_more() -> None:
    assert choices.choices(row(**CORRECTED, reviewed=True, ground_truth="Stop, curb ahead.")) == ()


@pytest.mark.parametrize(
    ("changes", "must"),
    [
        ({}, True),
        ({"transcript_confidence": 0.91}, False),
        ({"correction_audio_path": ""}, False),
        ({"reviewed": True, "ground_truth": "Stop, curb ahead."}, False),
    ],
)
def test_what_was_not_heard_clearly_must_be_listened_to(changes: dict[str, Any], must: bool) -> None:
    assert bool(choices.unsure(row(**{**CORRECTED, **changes}))) == must


def test_a_language_models_proposal_must_be_listened_to_however_sure_the_ears_were() -> None:
    asked = {**CORRECTED, "llm_correction": "", "transcript": "that plank", "transcript_confidence": 0.99}
    proposed = {"llm_model": "m", "llm_about": "that plank", "llm_wording": "Caution, obstacle ahead."}
    assert "language model" in choices.unsure(row(**asked, **proposed))


def test_both_sides_are_drawn_and_told() -> None:
    bands = drawn.sides("Caution, bin ahead.", "Caution, cone on the left.")
    assert [(band.kind, band.told) for band in bands] == [
        ("device", "the device: bin, ahead"),
        ("proposed", "proposed: cone, on the left"),
    ]
    assert bands[1].x + bands[1].width < bands[0].x
    assert bands[0].x + bands[0].width / 2 == pytest.approx(drawn.HEIGHT * drawn.USUAL_ASPECT / 2, abs=1)
    assert drawn.told(bands) == "Drawn over the picture: the device: bin, ahead; proposed: cone, on the left."


@pytest.mark.parametrize("said", ["", "Continue straight, path is clear.", "gibberish"])
def test_words_without_a_thing_draw_nothing(said: str) -> None:
    assert drawn.sides(said, "") == ()
    assert drawn.told(()) == ""


def test_a_drawing_has_the_shape_of_its_picture(tmp_path: Path) -> None:
    blobs, file = FolderBlobs(tmp_path), tmp_path / "a.jpg"
    for width, height in ((480, 270), (240, 320)):
        file.write_bytes(picture(1, width=width, height=height))
        assert drawn.aspect(blobs, "a.jpg") == width / height
        [band] = drawn.sides("", "Caution, cone on the right.", shape=drawn.aspect(blobs, "a.jpg"))
        assert band.x + band.width <= drawn.HEIGHT * width / height
        assert band.x > drawn.HEIGHT * width / height * 0.6
    file.write_bytes(b"no picture")
    assert drawn.aspect(blobs, "a.jpg") == drawn.aspect(blobs, "missing.jpg") == drawn.USUAL_ASPECT
