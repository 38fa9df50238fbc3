"""Which of the cameras that are plugged in a setting means. Pure, but for `plugged`, which reads sysfs.

Numbers of V4L2 devices are given in the order of plugging in: after a loose plug a camera may come back as another one,
and a second camera may take its number. So a number is believed only where there is nothing to confuse; a name stays.

    sysfs   /sys/class/video4linux/videoN/{name, index, device → the interface of the camera, whose subsystem is usb}
    links   /dev/v4l/by-id/…, /dev/v4l/by-path/…, which udev makes: by name and serial number, by the socket

A USB camera has two nodes or more; only the one with index 0 gives pictures, the next gives metadata. Codecs, image
processors and ribbon cables of a board are nodes too, but not on USB; a Pi has /dev/video0 for one of them, and none
gives pictures that OpenCV could use. A path opens any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.capture.source import SeveralCameras
from shared.errors import MediaError

SYSFS = Path("/sys/class/video4linux")
LINKS = Path("/dev/v4l")


@dataclass(frozen=True, slots=True)
class Node:
    """One /dev/videoN."""

    number: int
    name: str
    """Of the card, such as "HD Pro Webcam C920"."""
    index: int
    """Which node of its card it is; 0 = the pictures."""
    usb: bool
    virtual: bool = False
    """Made by a program (v4l2loopback): there is no device behind it."""
    links: tuple[str, ...] = ()
    """Below /dev/v4l, by-id first."""

    @property
    def path(self) -> str:
        return f"/dev/video{self.number}"

    @property
    def names(self) -> str:
        """All that it is called, in lower case."""
        return " ".join((self.name, *self.links)).lower()

    @property
    def lasting(self) -> str:
        """The setting that names this camera wherever it is plugged in, or at least whenever in this socket."""
        return f"camera:{self.links[0] if self.links else self.path}"


def plugged(sysfs: Path = SYSFS, links: Path = LINKS) -> tuple[Node, ...]:
    """Every video node of this machine; none where that is not known. Raises nothing."""
    targets: dict[str, list[str]] = {}
    for folder in ("by-id", "by-path"):
        for link in sorted((links / folder).glob("*")):
            targets.setdefault(link.resolve().name, []).append(f"/dev/v4l/{folder}/{link.name}")
    nodes = (_read(entry, tuple(targets.get(entry.name, ()))) for entry in sysfs.glob("video*"))
    return tuple(sorted((node for node in nodes if node is not None), key=lambda node: node.number))


def _read(entry: Path, links: tuple[str, ...]) -> Node | None:
    try:
        number, name = int(entry.name.removeprefix("video")), (entry / "name").read_text(errors="replace").strip()
        device = entry / "device"
        usb = device.exists() and (device / "subsystem").resolve().name == "usb"
        return Node(number, name, int((entry / "index").read_text()), usb, not device.exists(), links)
    except (OSError, ValueError):  # pulled out at this moment, or no node of ours
        return None


def device_of(wanted: str, nodes: Sequence[Node]) -> str:
    """What to open for the text after "camera:". wanted: "" = the only camera, a number, part of a name, or a path

    raises: SeveralCameras where one is meant, MediaError where there is none, with those that there are
    """
    cameras = [node for node in nodes if node.usb and node.index == 0]
    if "/" in wanted:
        return wanted
    if wanted and not wanted.isdecimal():
        named = [node for node in cameras if wanted.lower() in node.names]
        return _only(named, f"called {wanted!r}", cameras).path
    return _numbered(f"/dev/video{int(wanted or '0')}", nodes, cameras)


def _numbered(path: str, nodes: Sequence[Node], cameras: Sequence[Node]) -> str:
    virtual = any(node.path == path and node.virtual for node in nodes)
    return path if virtual or not cameras else _only(cameras, "plugged in", cameras).path


def _only(found: Sequence[Node], what: str, cameras: Sequence[Node]) -> Node:
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"{node.lasting} is {node.name}" for node in (found or cameras))
    if not found:
        there = f"There are: {listed}." if listed else "There is none at all: check the plug."
        raise MediaError(f"no camera is {what}", hint=there)
    hint = f"Set capture.source to the one that is worn: {listed}."
    raise SeveralCameras(f"{len(found)} cameras are {what}", hint=hint)
