"""Which output is chosen of what real boards list, and how long the buffer is."""

from __future__ import annotations

import itertools

import pytest

from device.voice import buffering
from device.voice.buffering import LEAST_S, MOST_S, Buffering
from device.voice.output_list import server_of
from device.voice.outputs import ANY, CARD, SERVER, OutputKind, SoundOutput, cards, ranked, sinks
from tests.device.voice import listings


def chosen(*outputs: SoundOutput, wanted: str = "") -> list[str]:
    return [f"{output.through} {output.name}" for output in ranked(outputs, wanted=wanted)]


@pytest.mark.parametrize(
    ("listed", "streams", "first", "kind"),
    [
        (listings.PI_4_CARDS, listings.PI_4_PCM, "Headphones", OutputKind.ANALOG),
        (listings.PI_4_HDMI_FIRST_CARDS, listings.PI_4_HDMI_FIRST_PCM, "Headphones", OutputKind.ANALOG),
        (listings.PI_5_CARDS, listings.PI_5_PCM, "vc4hdmi0", OutputKind.HDMI),
        (listings.PI_WITH_WEBCAM_AND_USB_CARDS, listings.PI_WITH_WEBCAM_AND_USB_PCM, "CODEC", OutputKind.USB),
        (listings.PI_5_HIFIBERRY_CARDS, listings.PI_5_HIFIBERRY_PCM, "sndrpihifiberry", OutputKind.ANALOG),
        (listings.JETSON_CARDS, listings.JETSON_PCM, "HDA", OutputKind.HDMI),
        (listings.DESKTOP_CARDS, listings.DESKTOP_PCM, "PCH", OutputKind.ANALOG),
    ],
    ids=["Pi 4", "Pi 4 with HDMI first", "Pi 5", "Pi with USB card", "HifiBerry", "Jetson", "desktop without server"],
)
def test_without_a_sound_server_what_is_worn_comes_before_hdmi(
    listed: str, streams: str, first: str, kind: OutputKind
) -> None:
    best = ranked(cards(listed, streams))[0]
    assert (best.name, best.kind, best.through) == (first, kind, CARD)
    assert best.environ == {"ALSA_CARD": first}


def test_a_camera_that_only_records_and_a_bus_that_is_wired_to_nothing_are_no_outputs() -> None:
    names = chosen(*cards(listings.PI_WITH_WEBCAM_AND_USB_CARDS, listings.PI_WITH_WEBCAM_AND_USB_PCM))
    assert names == ["card CODEC", "card Headphones", "card vc4hdmi", "default "]
    jetson = cards(listings.JETSON_CARDS, listings.JETSON_PCM)
    assert chosen(*jetson) == ["card HDA", "default "]
    assert chosen(*jetson, wanted="APE")[0] == "card APE"  # whoever has wired it says so


ANALOG, HDMI = "alsa_output.pci-0000_00_1b.0.analog-stereo", "alsa_output.pci-0000_00_03.0.hdmi-stereo"
HEADSET = "bluez_output.38_18_4C_E9_85_B4.1"


def test_a_sound_servers_sinks_come_before_cards_and_its_own_choice_first_but_hdmi() -> None:
    desktop = cards(listings.DESKTOP_CARDS, listings.DESKTOP_PCM)
    by_analog = sinks(listings.DESKTOP_SINKS, ANALOG) + desktop
    assert chosen(*by_analog) == [f"server {ANALOG}", f"server {HDMI}", "card PCH", "default "]
    assert chosen(*sinks(listings.DESKTOP_SINKS, HDMI), *desktop)[0] == f"server {ANALOG}"
    headset = listings.DESKTOP_SINKS + listings.HEADSET_SINK
    assert chosen(*sinks(headset, HDMI))[0] == f"server {HEADSET}"
    assert chosen(*sinks(headset, ANALOG))[0] == f"server {ANALOG}"  # somebody chose it


@pytest.mark.parametrize(
    ("listed", "default", "first"),
    [
        (listings.PI_5_SINKS + listings.USB_SINK, "alsa_output.platform-107c701400.hdmi.hdmi-stereo", "USB"),
        (listings.PI_5_SINKS + listings.HEADSET_SINK, "alsa_output.platform-107c701400.hdmi.hdmi-stereo", "Bluetooth"),
        (listings.PI_5_SINKS, "alsa_output.platform-107c701400.hdmi.hdmi-stereo", "HDMI"),
        (listings.NO_CARD_SINKS + listings.USB_SINK, "auto_null", "USB"),
    ],
)
def test_a_server_that_plays_into_a_monitor_or_into_nothing_is_overruled(listed: str, default: str, first: str) -> None:
    best = ranked(sinks(listed, default))[0]
    assert (best.kind, best.through) == (first, SERVER)
    assert best.environ["PULSE_SINK"] == best.name


def test_what_the_settings_name_comes_first_by_sink_card_text_or_number_and_the_others_stay_at_hand() -> None:
    usb = cards(listings.PI_WITH_WEBCAM_AND_USB_CARDS, listings.PI_WITH_WEBCAM_AND_USB_PCM)
    assert chosen(*usb, wanted="vc4")[0] == "card vc4hdmi"
    assert chosen(*usb, wanted="hw:0,0")[0] == "card Headphones"
    assert chosen(*usb, wanted="usb audio codec")[0] == "card CODEC"
    assert chosen(*sinks(listings.DESKTOP_SINKS, ANALOG), wanted="hdmi")[0] == f"server {HDMI}"
    assert chosen(*usb, wanted="bluealsa")[:2] == ["named bluealsa", "card CODEC"]
    assert ranked(usb, wanted="bluealsa")[0].kind is OutputKind.BLUETOOTH


def test_a_default_that_somebody_wrote_comes_before_cards_and_after_a_servers_sinks() -> None:
    usb = cards(listings.PI_WITH_WEBCAM_AND_USB_CARDS, listings.PI_WITH_WEBCAM_AND_USB_PCM)
    assert ranked(usb, default_written=True)[0] == ANY
    assert ranked((*sinks(listings.DESKTOP_SINKS, ANALOG), *usb), default_written=True)[2] == ANY
    assert ranked(usb, server_expected=True)[0] == ANY  # its sinks cannot be listed, and it holds the cards


def test_a_headset_that_speaks_as_a_telephone_has_one_channel() -> None:
    assert [output.channels for output in sinks(listings.HEADSET_AS_PHONE_SINK + listings.HEADSET_SINK, "")] == [1, 2]


@pytest.mark.parametrize("listed", ["", "nonsense", "1\tx\n", "\t\t\t\t\n", " 0 [", "00-00", "\x00\xff"])
def test_a_list_that_makes_no_sense_leaves_the_systems_default(listed: str) -> None:
    assert ranked((*cards(listed, listed), *sinks(listed, "")))[-1] == ANY


def test_a_server_is_asked_only_where_its_socket_is(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert server_of({"PULSE_SERVER": "unix:/somewhere"}) == "unix:/somewhere"
    assert server_of({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse/native").touch()
    assert server_of({"XDG_RUNTIME_DIR": str(tmp_path)}) == str(tmp_path / "pulse/native")


def walked(state: Buffering, underruns_at: dict[float, int], until_s: float, from_s: float = 0.0) -> Buffering:
    for half in range(round(2 * from_s), round(2 * until_s)):
        state = buffering.step(state, underruns_at.get(half / 2, 0), half / 2)
    return state


def test_a_few_underruns_an_hour_never_grow_the_buffer() -> None:
    assert walked(Buffering(), {minute * 60.0: 1 for minute in range(120)}, 7200).buffer_s == LEAST_S


def test_stutter_grows_the_buffer_up_to_its_bound_and_calm_minutes_shrink_it_again() -> None:
    stutter = {second / 2: 1 for second in range(200)}
    state = walked(Buffering(), stutter, 100)
    assert state.buffer_s == MOST_S
    assert LEAST_S < walked(state, {}, 100 + 200, 100).buffer_s < MOST_S
    assert walked(state, {}, 100 + 1200, 100).buffer_s == LEAST_S


def test_a_machine_that_stutters_whenever_it_is_shortened_is_tried_ever_more_rarely() -> None:
    state, at_s, tries = Buffering(), 0.0, []
    while at_s < 4 * 3600:
        before_s = state.buffer_s
        state = buffering.step(state, 4 if state.buffer_s < 0.04 else 0, at_s)
        if state.buffer_s < before_s:
            tries.append(at_s)
        at_s += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= buffering.CALM_MOST_S
    assert len(tries) < 14
