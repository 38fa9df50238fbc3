"""Whether a sound server lets be heard what this process plays, by what `pactl` lists; and outputs that rest."""

from __future__ import annotations

import pytest

from device.voice import resting
from device.voice.audible import SILENT_PERCENT, Audible, volumes
from device.voice.outputs import ANY, SoundOutput, sinks
from shared.errors import MediaError
from tests.device.voice import listings

NAME = "alsa_output.usb-headset.analog-stereo"
HEADSET: SoundOutput = sinks(f"7\t{NAME}\tmodule\ts16le 2ch 48000Hz\tRUNNING\n", NAME)[0]
MINE, ANOTHERS = 4711, 99


class Server:
    """Answers as `pactl` does and does as it is told; `stubborn`: it answers and does nothing."""

    def __init__(self, *, sink: str = "no 80", stream: str = "no 100", stubborn: bool = False) -> None:
        self.state = {"sink": sink.split(), "sink-input": stream.split()}
        self.stubborn = stubborn
        self.told: list[tuple[str, ...]] = []

    def ask(self, *words: str) -> str:
        if words[0] == "list":
            kind = "sink" if words[1] == "sinks" else "sink-input"
            return listings.PACTL_LISTS[kind].format(*self.state[kind], name=NAME, mine=MINE, anothers=ANOTHERS)
        self.told.append(words)
        kind, _, what = words[0].removeprefix("set-").rpartition("-")
        if not self.stubborn:
            at, value = (0, "no") if what == "mute" else (1, words[2].rstrip("%"))
            self.state[kind][at] = value
        return ""


def test_what_pactl_lists_is_read_with_its_mutes_volumes_and_owners() -> None:
    server = Server(sink="yes 0", stream="no 30")
    found = [*volumes(server.ask("list", "sinks")), *volumes(server.ask("list", "sink-inputs"))]
    assert [(one.kind, one.number, one.name, one.sink, one.process, one.muted, one.percent) for one in found] == [
        ("sink", "3", "alsa_output.platform.hdmi", "", 0, True, 0),
        ("sink", "7", NAME, "", 0, True, 0),
        ("sink-input", "12", "", "7", ANOTHERS, True, 0),
        ("sink-input", "13", "", "7", MINE, False, 30),
        ("sink-input", "14", "", "7", 0, False, None),
    ]


@pytest.mark.parametrize(
    ("sink", "stream", "told"),
    [
        ("yes 80", "no 100", [("set-sink-mute", "7", "0")]),
        ("no 0", "no 100", [("set-sink-mute", "7", "0"), ("set-sink-volume", "7", "40%")]),
        ("no 80", "yes 100", [("set-sink-input-mute", "13", "0")]),
        ("no 80", "no 3", [("set-sink-input-mute", "13", "0"), ("set-sink-input-volume", "13", "100%")]),
        (f"no {SILENT_PERCENT + 1}", f"no {SILENT_PERCENT + 1}", []),  # soft, as the wearer has set it
    ],
)
def test_only_what_is_silent_is_switched_on_and_nothing_of_other_sinks_and_programs(
    sink: str, stream: str, told: list[tuple[str, ...]]
) -> None:
    server = Server(sink=sink, stream=stream)
    audible = Audible(process=MINE, ask=server.ask)
    assert audible.is_off(HEADSET) is bool(told)
    assert audible.switch_on(HEADSET) is bool(told)
    assert server.told == told
    assert not audible.is_off(HEADSET)


def test_what_stays_silent_is_an_error_and_what_no_server_tells_of_is_not() -> None:
    with pytest.raises(MediaError, match="cannot be switched on"):
        Audible(process=MINE, ask=Server(sink="yes 80", stubborn=True).ask).switch_on(HEADSET)
    assert not Audible(process=MINE, ask=Server(sink="yes 80", stubborn=True).ask).switch_on(ANY)
    assert not Audible(process=MINE, ask=lambda *words: "").switch_on(HEADSET)
    assert not Audible(process=MINE, ask=lambda *words: None).is_off(HEADSET)


@pytest.mark.parametrize("listed", ["", "nonsense", "Sink #", "Sink #1", "Sink #1\n\tMute", "Sink Input #2\n\x00\n"])
def test_a_list_that_makes_no_sense_silences_nothing(listed: str) -> None:
    assert not any(one.is_silent for one in volumes(listed))


def test_an_output_that_fails_again_and_again_is_tried_ever_more_rarely_until_it_works() -> None:
    rests: resting.Rests = {}
    tried, at_s = [], 0.0
    for _ in range(9):
        rests = resting.failed(rests, "headset", at_s)
        assert resting.is_resting(rests, "headset", at_s)
        assert not resting.any_due(rests, at_s, at_s + 1.0)
        before_s, at_s = at_s, rests["headset"].until_s
        assert resting.any_due(rests, before_s, at_s)
        assert not resting.is_resting(rests, "headset", at_s)
        tried.append(at_s - before_s)
    assert tried == [30, 60, 120, 240, 480, 960, 1920, 1920, 1920]
    assert not resting.worked(rests, "headset")
    assert not resting.of(rests, ["speakers"])
    assert resting.of(rests, ["speakers", "headset"]) == rests
