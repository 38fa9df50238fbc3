"""What a bundle may hold beside pictures one by one: two frames, a calibration, an audio encoder, an older decoder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from shared import bundle, mel
from shared.calibration import Calibration
from shared.errors import BundleError
from shared.runtime import GuidanceModel, Observation
from shared.runtime.execution import Execution
from shared.runtime.language import EMBED, VISION
from tests.shared.runtime.altered import golden_picture, rewrite
from tests.shared.runtime.plain import WholePrompt

BETWEEN = [4, 4, 5]
SOUND = np.sin(np.arange(32_000, dtype=np.float32) / 5) * np.float32(0.4)


@pytest.fixture
def copy(starter_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))


def opened(folder: Path, execution: Execution = Execution(1), **model: Any) -> GuidanceModel:  # noqa: B008  frozen
    """The bundle with these entries in its manifest's `model`."""
    rewrite(folder, model={**bundle.read_manifest(folder).model, **model})
    return GuidanceModel.load(folder, allow_demo=True, execution=execution)


def embedded(folder: Path, ids: list[int]) -> NDArray[np.float32]:
    """float32 [1, n, e]."""
    rows: NDArray[np.float32] = onnxruntime.InferenceSession(folder / EMBED).run(None, {"input_ids": np.array([ids])})[
        0
    ]
    return rows


def shown(folder: Path, *parts: NDArray[np.float32]) -> tuple[int, ...]:
    """The plain answer to these parts between the prompt's beginning and its end."""
    whole = WholePrompt(folder)
    return whole.answer(Observation(np.concatenate(parts, axis=1), (), 0.5, 0.5))


def test_of_two_frames_the_first_is_kept_and_not_computed_again(copy: Path, starter_bundle: Path) -> None:
    counting = Counting(1)
    model = opened(copy, counting, frames=2, between_ids=BETWEEN)
    one, two = (golden_picture(copy, number) for number in (0, 8))
    first = model.look(one)
    counting.runs.clear()
    second = model.look(two, before=first)
    assert len(counting.runs) == 1
    assert second.earlier_tokens is first.image_tokens
    between = embedded(copy, BETWEEN)
    expected = shown(starter_bundle, first.image_tokens, between, second.image_tokens)
    assert model.word(second, constrained=False, most_tokens=16).token_ids == expected
    alone = shown(starter_bundle, first.image_tokens, between, first.image_tokens)
    assert model.word(first, constrained=False, most_tokens=16).token_ids == alone  # the newest stands in


@dataclass(frozen=True)
class Counting(Execution):
    """Notes the runs of the vision graph."""

    runs: list[object] = field(default_factory=list)

    def session(self, file: Path, *, providers: tuple[str, ...] | None = None) -> onnxruntime.InferenceSession:
        session = super().session(file, providers=providers)
        if file.name == VISION:
            run = session.run

            def noted(*arguments: Any) -> Any:
                self.runs.append(arguments)
                return run(*arguments)

            session.run = noted
        return session


def test_a_bundle_of_one_frame_ignores_the_look_before(model: GuidanceModel, starter_bundle: Path) -> None:
    first, second = (golden_picture(starter_bundle, number) for number in (0, 8))
    alone, after = model.look(second), model.look(second, before=model.look(first))
    assert after.earlier_tokens is None
    assert model.word(alone) == model.word(after)


def test_the_calibration_in_the_manifest_is_applied(copy: Path) -> None:
    by = Calibration(temperature=2.5, hazard_scale=0.5, hazard_bias=-1.0)
    model, calibrated = opened(copy, calibration={}), opened(copy, calibration=by.to_dict())
    plain, sure = model.look(golden_picture(copy, 0)), calibrated.look(golden_picture(copy, 0))
    assert calibrated.word(sure).confidence == pytest.approx(by.sentence(model.word(plain).confidence))
    assert sure.hazards[0].score == pytest.approx(by.hazard(plain.hazards[0].score), abs=1e-6)


def test_a_calibration_that_makes_no_sense_is_refused(copy: Path) -> None:
    with pytest.raises(BundleError, match=r"calibrates nothing.*Export it again"):
        opened(copy, calibration={"temperature": 0.0})


def test_sound_is_ignored_without_an_audio_encoder(model: GuidanceModel, starter_bundle: Path) -> None:
    picture = golden_picture(starter_bundle, 2)
    assert model.look(picture, SOUND).audio is None
    assert model.word(model.look(picture, SOUND)) == model.word(model.look(picture))


def test_what_is_heard_is_added_to_each_token_of_the_newest_picture(copy: Path, starter_bundle: Path) -> None:
    save_ear(copy / mel.ENCODER)
    model = opened(copy, frames=2, between_ids=BETWEEN)
    before = model.look(golden_picture(copy, 0), SOUND)
    heard, deaf = (model.look(golden_picture(copy, 8), sound, before=before) for sound in (SOUND, None))
    assert deaf.audio is None
    assert heard.audio is not None
    assert heard.audio == pytest.approx(mel.log_mel(SOUND).mean(), abs=1e-5)
    assert np.array_equal(heard.image_tokens, deaf.image_tokens)
    between = embedded(copy, BETWEEN)
    expected = shown(starter_bundle, before.image_tokens, between, heard.image_tokens + heard.audio)
    assert model.word(heard, constrained=False, most_tokens=16).token_ids == expected


def save_ear(file: Path) -> None:
    """A graph that hears how loud it is: the mean of the log-mel, in each of 192 channels."""
    given = ir.val("input_features", ir.DataType.FLOAT, [1, mel.BANDS, mel.FRAMES])
    shape = ir.Value(name="shape", const_value=ir.tensor(np.array([1, 1, 192], np.int64), name="shape"))
    mean = ir.node("ReduceMean", [given], attributes={"keepdims": 1})
    spread = ir.node("Expand", [mean.outputs[0], shape])
    out = spread.outputs[0]
    out.name, out.type, out.shape = "audio_features", ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, 1, 192])
    graph = ir.Graph([given], [out], nodes=[mean, spread], initializers=[shape], opset_imports={"": 18})
    ir.save(ir.Model(graph, ir_version=10), file)
