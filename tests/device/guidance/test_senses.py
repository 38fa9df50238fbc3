"""The agent's eyes and ears on whole walks: real film with a lens that fails, real sound with a siren in it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.capture.source import SoundBlock, VideoFrame
from shared.errors import BundleError
from shared.runtime.seen import Hazard
from tests.device.agent.stage import CLEAR, Card, Seen, StoryModel, agent, config, film, nothing, result, run, says
from tests.device.capture import films
from tests.shared.bundle.bundles import make_bundle

Picture = NDArray[np.uint8]
FPS = 10
CURB, DOOR = Hazard("curb", "ahead", 0.95), Hazard("door", "on the right", 0.9)
DOOR_SAID = says("Keep straight, door on the right.")
RNG = np.random.default_rng(0)
CLOTH = cv2.GaussianBlur(RNG.normal(90, 200, (120, 160)).astype(np.float32), (0, 0), 20)
LENSES: dict[str, tuple[Callable[[Picture, Picture], Picture], str]] = {
    "black": (lambda now, before: np.zeros_like(now), "Camera blocked."),
    "covered": (lambda now, before: np.clip(CLOTH, 0, 255).astype(np.uint8)[..., None].repeat(3, 2), "Camera blocked."),
    "overexposed": (lambda now, before: np.clip(now.astype(int) * 8 + 60, 0, 255).astype(np.uint8), "Camera blinded"),
    "frozen": (lambda now, before: before, "Camera frozen."),
}


def lens_film(path: Path, spoil: Callable[[Picture, Picture], Picture]) -> Path:
    """3 s of a walk, 4 s of the same with a lens that fails, 2 s of the walk."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "rgb24"
        stream.time_base = Fraction(1, 90_000)
        stream.options = {"preset": "ultrafast", "crf": "0"}
        before = films.corners(160, 120, 0.0)
        for number in range(9 * FPS):
            picture = films.corners(160, 120, number / FPS / 10)
            if 3 * FPS <= number < 7 * FPS:
                picture = spoil(picture, before)
            else:
                before = picture
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number * 90_000 // FPS, Fraction(1, 90_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.skipif(not films.can_encode("libx264rgb"), reason="this FFmpeg has no lossless RGB encoder")
@pytest.mark.parametrize("with_model", [True, False], ids=["guided", "without a model"])
@pytest.mark.parametrize("name", LENSES)
def test_a_lens_that_fails_is_told_within_three_seconds_and_so_is_its_return(
    name: str, with_model: bool, tmp_path: Path
) -> None:
    spoil, text = LENSES[name]
    model = StoryModel(nothing) if with_model else None
    done = run(tmp_path, model, walk=lens_film(tmp_path / "lens.mp4", spoil))
    reported = [(entry["t_s"], entry["text"]) for entry in done.captions if entry["text"].startswith("Camera")]
    assert [entry[1].startswith(want) for entry, want in zip(reported, (text, "Camera back."), strict=True)] == [
        True,
        True,
    ]
    assert 3.0 < reported[0][0] <= 6.0
    assert 7.0 < reported[1][0] <= 8.5


def test_no_guidance_comes_from_a_picture_that_shows_nothing(tmp_path: Path) -> None:
    def dreaming(look: int) -> Seen:
        return ((CURB,) if look >= 12 else ()), CLEAR

    black, _ = LENSES["black"]
    done = run(tmp_path, StoryModel(dreaming), walk=lens_film(tmp_path / "lens.mp4", black))
    said = [entry["t_s"] for entry in done.captions if entry["text"] == "Stop, curb ahead."]
    assert said
    assert said[0] >= 7.0


def siren(seconds: float) -> NDArray[np.int16]:
    at = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * np.cumsum(600 + 750 * (0.5 - 0.5 * np.cos(2 * np.pi * at / 4))) / 16_000
    return np.asarray(sum(np.sin(n * phase) / n**1.5 for n in (1, 2, 3)) * 6000).astype(np.int16)


def test_while_a_siren_sounds_only_what_matters_is_said_and_the_rest_waits(tmp_path: Path) -> None:
    """The sound is put in where the microphone's would come."""
    wail = siren(4.0)

    def door_then_curb(look: int) -> Seen:
        return ((CURB, DOOR) if look == 16 else (DOOR,) if look >= 12 else ()), DOOR_SAID

    made = agent(config(tmp_path, film(tmp_path, 12.0)), StoryModel(door_then_curb), tmp_path)
    hear = made.parts.guidance.hear

    def with_siren(block: SoundBlock) -> None:
        first = round((block.t_s - 1.0) * 16_000)
        loud = block.samples.copy()
        if 0 <= first < wail.size - loud.size:
            loud = wail[first : first + loud.size]
        hear(SoundBlock(loud, block.t_s))

    made.parts.guidance.hear = with_siren  # type: ignore[method-assign]
    made.run()
    said = {entry["text"]: entry["t_s"] for entry in result(tmp_path).captions}
    assert said["Stop, curb ahead."] == pytest.approx(4.0, abs=0.3)
    assert 8.0 <= said["Keep straight, door on the right."] <= 10.5


def test_pictures_whose_size_and_rotation_change_in_mid_walk_are_guided_and_recorded(tmp_path: Path) -> None:
    made = agent(config(tmp_path, film(tmp_path), flags__audit_share=1.0), StoryModel(nothing), tmp_path)
    source = made.parts.source
    assert source is not None
    read = source.read

    def turning(timeout_s: float) -> VideoFrame | SoundBlock | None:
        item = read(timeout_s)
        if isinstance(item, VideoFrame) and item.t_s > 2.0:
            image = np.ascontiguousarray(np.rot90(item.image) if item.t_s < 5.0 else item.image[::2, ::2])
            return VideoFrame(image, item.t_s)
        return item

    source.read = turning  # type: ignore[method-assign]
    made.run()
    done = result(tmp_path)
    assert done.texts == ["Guidance ready."]
    sizes = [(body["width_px"], body["height_px"]) for body in done.records.values()]
    assert sizes == [(160, 120), (120, 160), (120, 160), (80, 60)] or len(set(sizes)) == 3


def test_a_model_without_a_hazard_head_is_worded_at_every_look(tmp_path: Path) -> None:
    model = StoryModel(lambda look: ((), says("Stop, curb ahead.") if look >= 8 else CLEAR))
    model.manifest = Card(model={"objects": []})
    done = run(tmp_path, model)
    assert model.worded == model.looks
    (said,) = [entry for entry in done.captions if entry["text"] == "Stop, curb ahead."]
    assert said["t_s"] == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize(
    "more", [{"vocabulary": 99}, {"objects": ["curb", "hovercraft"]}, {"sides": ["below"]}, {"vocabulary": "new"}]
)
def test_a_model_with_a_newer_vocabulary_is_refused_with_what_to_do(more: dict[str, object], tmp_path: Path) -> None:
    make_bundle(tmp_path / "m", "m-2", model={"objects": ["curb"], "sides": ["ahead"], **more})
    with pytest.raises(BundleError, match="newer vocabulary") as refusal:
        run(tmp_path, None, guidance__model=str(tmp_path / "m"))
    assert "Update waycue" in refusal.value.hint
