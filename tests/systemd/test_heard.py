"""The ears of scripts/systemd_vm: they must hear what is there, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from device.sentinel.watch import BACK, STOPPED
from device.voice.earcons import SPEECH_RATE_HZ, earcon
from device.voice.espeak import Espeak, Samples
from scripts.systemd_vm import ears
from scripts.systemd_vm.ears import RATE_HZ, Sound
from scripts.systemd_vm.stage import Done, Happening, Stage
from shared.clock import ManualClock
from shared.wav import resample
from tests.device.voice.speech import needs_espeak

TEXTS = (
    STOPPED, BACK, "Guidance ready.", "Guidance updated.", "Guidance ended.", "Camera back.", "Storage full.",
    "Stop, curb ahead.",
)  # fmt: skip


def at_rate(samples: Samples) -> Sound:
    return (resample(samples, SPEECH_RATE_HZ, RATE_HZ) / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def known() -> Mapping[str, Sound]:
    return {text: at_rate(Espeak().render(text, 190)) for text in TEXTS}


def recording(*parts: tuple[float, Sound], seconds: float = 12.0, noise: float = 0.002) -> Sound:
    """Sounds at their times in a little noise."""
    samples = np.random.default_rng(1).normal(0, noise, int(seconds * RATE_HZ)).astype(np.float32)
    for at_s, sound in parts:
        at = int(at_s * RATE_HZ)
        samples[at : at + sound.size] += sound[: samples.size - at]
    return samples


@needs_espeak
@pytest.mark.parametrize("text", TEXTS)
def test_a_sentence_is_heard_at_its_time_and_as_no_other(text: str, known: Mapping[str, Sound]) -> None:
    (heard,) = ears.listen(recording((3.0, 0.5 * known[text])), known)
    assert heard.text == text
    assert heard.at_s == pytest.approx(3.0, abs=0.02)


@needs_espeak
def test_a_stutter_and_a_short_sound_before_it_do_not_hide_a_sentence(known: Mapping[str, Sound]) -> None:
    words, gap = known[STOPPED], np.zeros(RATE_HZ // 25, np.float32)
    cut = words.size // 2
    stuttered = np.concatenate([at_rate(earcon("state")), words[:cut], gap, words[cut:]])
    heard = ears.listen(recording((2.0, stuttered), (8.0, known[BACK])), known)
    assert [sound.text for sound in heard if sound.text] == [STOPPED, BACK]
    assert heard[-1].at_s == pytest.approx(8.0, abs=0.02)


@needs_espeak
def test_what_is_no_known_sound_is_reported_as_unknown_and_silence_as_nothing(known: Mapping[str, Sound]) -> None:
    unknown = at_rate(Espeak().render("Nobody ever says such a thing.", 190))
    (heard,) = ears.listen(recording((5.0, unknown)), known)
    assert heard.text == ""
    assert heard.at_s == pytest.approx(5.0, abs=0.1)
    assert ears.listen(recording(), known) == []


class NoMachine:
    """A machine of which only the recording matters."""

    def run(self, command: str, *, timeout_s: float = 60.0) -> Done:
        return Done(0, "")

    def start(self) -> None: ...
    def power_on(self) -> None: ...
    def power_off(self) -> None: ...
    def camera_on(self) -> None: ...
    def stall_card(self) -> None: ...
    def thaw_card(self) -> None: ...
    def stop(self) -> None: ...
    def until_up(self, timeout_s: float) -> float:
        return 0.0


@needs_espeak
@pytest.mark.parametrize(
    ("within_s", "wrong"), [(3.0, []), (1.5, [f"{STOPPED!r} was heard after 2.0 s, not within 1.5 s"])]
)
def test_a_sentence_that_comes_late_or_is_unwanted_is_told(
    tmp_path: Path, known: Mapping[str, Sound], within_s: float, wrong: list[str]
) -> None:
    sound = np.zeros(0, np.int16)
    stage = Stage("trial", NoMachine(), lambda: sound, ManualClock())
    stage.happened.append(Happening(1.0, "kill", {STOPPED: within_s, BACK: 5.0}, ("Camera back.",), until_s=12.0))
    heard = recording((3.0, known[STOPPED]), (8.0, known["Camera back."]))
    sound = (resample((heard * 32767).astype(np.int16), RATE_HZ, 16_000)).astype(np.int16)
    stage.judge(ears.listen(stage.keep(tmp_path), known))
    assert stage.happened[0].wrong == [*wrong, f"{BACK!r} was not heard", "'Camera back.' was heard"]
    assert not stage.passed
    assert any("Guidance stopped.  [2.0 s after]" in line for line in stage.table())
