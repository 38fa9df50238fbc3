"""Which camera a setting means, on the trees that machines with one, two and no USB cameras have."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.capture.camera import camera_plan
from device.capture.live import LiveSource
from device.capture.open import check_source
from device.capture.source import SeveralCameras
from device.capture.v4l2 import Node, device_of, plugged
from shared.errors import ConfigError, MediaError

Row = tuple[int, str, int, str]
"""Number, name of the card, index of the node in it, where its device is in /sys/devices."""
PI_4 = "platform/soc/fe801000.csi"
CODECS: tuple[Row, ...] = tuple(
    (number, name, 0, f"platform/soc/{name}")
    for number, name in ((10, "bcm2835-codec-decode"), (11, "bcm2835-codec-encode"), (13, "bcm2835-isp"))
)
C920: tuple[Row, ...] = (
    (0, "HD Pro Webcam C920", 0, "platform/scb/usb1/1-1/1-1.2/1-1.2:1.0"),
    (1, "HD Pro Webcam C920", 1, "platform/scb/usb1/1-1/1-1.2/1-1.2:1.0"),
)
ELP: tuple[Row, ...] = (
    (2, "ELP USB Camera: 4KCAM", 0, "platform/scb/usb1/1-1/1-1.3/1-1.3:1.0"),
    (3, "ELP USB Camera: 4KCAM", 1, "platform/scb/usb1/1-1/1-1.3/1-1.3:1.0"),
)
TWIN: tuple[Row, ...] = tuple(
    (number + 2, name, index, where.replace("1.2", "1.4")) for number, name, index, where in C920
)
BOARD: tuple[Row, ...] = ((0, "unicam", 0, PI_4), (1, "unicam", 1, PI_4))


def tree(folder: Path, *rows: Row) -> tuple[Node, ...]:
    """Build /sys and /dev/v4l of a machine, and read them."""
    sysfs, links, buses = (
        folder / "class",
        folder / "v4l",
        {kind: folder / "bus" / kind for kind in ("usb", "platform")},
    )
    for made in (sysfs, *buses.values(), links / "by-id", links / "by-path"):
        made.mkdir(parents=True, exist_ok=True)
    for number, name, index, where in rows:
        device = folder / "devices" / where
        device.mkdir(parents=True, exist_ok=True)
        if not (device / "subsystem").is_symlink():
            (device / "subsystem").symlink_to(buses["usb" if "usb" in where else "platform"])
        node = sysfs / f"video{number}"
        node.mkdir()
        if where:
            (node / "device").symlink_to(device)
        (node / "name").write_text(name + "\n")
        (node / "index").write_text(f"{index}\n")
        if "usb" in where:
            target = Path("../../") / f"video{number}"
            plug = where.rpartition("/")[2].replace(":", "_")
            (links / "by-path" / f"pci-usb-0_{plug}-video-index{index}").symlink_to(target)
            serial = f"usb-{name.split(':')[0].replace(' ', '_')}-video-index{index}"
            if not (links / "by-id" / serial).is_symlink():  # of twins without serial numbers udev links one
                (links / "by-id" / serial).symlink_to(target)
    return plugged(sysfs, links)


@pytest.mark.parametrize("wanted", ["", "0", "c920", "C920", "HD Pro", "usb-HD_Pro_Webcam_C920"])
def test_the_only_camera_is_taken_whatever_it_is_called(tmp_path: Path, wanted: str) -> None:
    assert device_of(wanted, tree(tmp_path, *C920, *CODECS)) == "/dev/video0"


@pytest.mark.parametrize("wanted", ["", "0", "c920"])
def test_it_is_found_again_under_another_number(tmp_path: Path, wanted: str) -> None:
    back = tuple((number + 4, name, index, where) for number, name, index, where in C920)
    assert device_of(wanted, tree(tmp_path, *back, *CODECS)) == "/dev/video4"


def test_a_metadata_node_is_no_camera(tmp_path: Path) -> None:
    assert [node.number for node in tree(tmp_path, *C920)] == [0, 1]
    assert device_of("1", tree(tmp_path / "again", *C920)) == "/dev/video0"


@pytest.mark.parametrize("wanted", ["", "0", "2"])
def test_of_two_cameras_none_is_guessed_by_a_number_and_each_can_be_named(tmp_path: Path, wanted: str) -> None:
    nodes = tree(tmp_path, *C920, *ELP, *CODECS)
    with pytest.raises(SeveralCameras, match="2 cameras are plugged in") as caught:
        device_of(wanted, nodes)
    assert "camera:/dev/v4l/by-id/usb-HD_Pro_Webcam_C920-video-index0 is HD Pro Webcam C920" in caught.value.hint
    assert "4KCAM" in caught.value.hint
    assert "index1" not in caught.value.hint
    assert device_of("c920", nodes) == "/dev/video0"
    assert device_of("4kcam", nodes) == "/dev/video2"


def test_twins_are_told_apart_by_their_sockets(tmp_path: Path) -> None:
    nodes = tree(tmp_path, *C920, *TWIN)
    with pytest.raises(SeveralCameras, match="2 cameras are called 'c920'") as caught:
        device_of("c920", nodes)
    assert "by-path/pci-usb-0_1-1.4_1.0-video-index0" in caught.value.hint
    assert device_of("1-1.4", nodes) == "/dev/video2"


def test_a_name_that_no_camera_has_is_told_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no camera is called 'brio'") as caught:
        device_of("brio", tree(tmp_path, *C920, *CODECS))
    assert "is HD Pro Webcam C920" in caught.value.hint
    with pytest.raises(MediaError) as nothing:
        device_of("brio", tree(tmp_path / "none", *CODECS))
    assert "There is none at all" in nothing.value.hint


@pytest.mark.parametrize(
    ("rows", "wanted", "device"),
    [
        ((*BOARD, *CODECS), "0", "/dev/video0"),  # a camera of the board
        ((*CODECS,), "0", "/dev/video0"),  # nothing there yet: opening says so
        ((*ELP, (9, "OBS Virtual Camera", 0, "")), "9", "/dev/video9"),  # made by a program
        ((*CODECS, *ELP), "/dev/video10", "/dev/video10"),  # what was meant is left to who meant it
        ((), "", "/dev/video0"),
        ((*C920, *ELP), "/dev/video2", "/dev/video2"),
        ((*C920, *ELP), "/dev/v4l/by-id/usb-x-video-index0", "/dev/v4l/by-id/usb-x-video-index0"),
    ],
)
def test_what_cannot_be_confused_is_opened_as_it_is_named(
    tmp_path: Path, rows: tuple[Row, ...], wanted: str, device: str
) -> None:
    assert device_of(wanted, tree(tmp_path, *rows)) == device


def test_a_usb_camera_beside_the_ribbon_cable_of_a_pi_is_the_one_that_is_meant(tmp_path: Path) -> None:
    nodes = tree(tmp_path, *BOARD, *ELP)
    for wanted in ("", "0", "2", "elp"):
        assert device_of(wanted, nodes) == "/dev/video2", "a ribbon cable gives OpenCV no picture"
    assert device_of("/dev/video0", nodes) == "/dev/video0"


def test_a_camera_that_is_pulled_out_while_it_is_looked_at_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, *C920)
    (tmp_path / "class" / "video0" / "name").unlink()
    (tmp_path / "class" / "video1" / "index").write_text("")
    (tmp_path / "class" / "videoX").mkdir()
    assert plugged(tmp_path / "class", tmp_path / "v4l") == ()
    assert plugged(tmp_path / "nowhere", tmp_path / "nowhere") == ()


@pytest.mark.parametrize("name", ["C920", "Logitech BRIO", "4KCAM", "usb-046d"])
def test_a_name_is_a_setting(name: str) -> None:
    check_source(f"camera:{name}")


@pytest.mark.parametrize("name", ["O", "x1", "video0", "video"])
def test_what_is_too_short_for_a_name_or_looks_like_a_node_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="There is no camera"):
        check_source(f"camera:{name}")


def test_a_camera_that_is_not_there_is_named_in_the_error_of_the_capture_process() -> None:
    live = LiveSource(camera_plan("no such camera"))
    with pytest.raises(MediaError, match="no camera is called 'no such camera'"):
        live.open()
    live.close()
