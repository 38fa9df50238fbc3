"""People taken out of a picture and a clip: faces by a detector of faces, heads and plates by the eyes of a model.

    finder = PeopleFinder(detectors, eyes)
    hidden = finder.hide(image)               a picture with what was found in blocks, and how much that was
    finder.left_in(image, check)              what a second detector still finds there

Plates: the finders of server.privacy.plates, where their weights were fetched, and the lower part of every vehicle,
where a model with eyes is registered.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np

from server.labelling import footage
from server.privacy import packaged_weights
from server.privacy.faces import CascadedFaces, CenterFace, FaceDetector
from server.privacy.plates import PlateNetwork, WritingFinder
from server.releases.registry import Registry
from shared import bundle, veil
from shared.errors import BundleError, MediaError, WaycueError
from shared.runtime import GuidanceModel
from shared.sight import Box
from shared.veil import Image, Region

FACE_MARGIN = 0.25
"""Of a face's width and height, added on each side: hair, chin and ears tell, too."""
CLIP_FPS = 10
CLIP_MOST_S = 60.0
LAG_FRAMES = 2
"""A region of a clip stays hidden so many pictures before and after it was found."""
_TIME_BASE = Fraction(1, 90_000)
_X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "28"}
Looker = Callable[[Image], Sequence[Box]]


@dataclass(frozen=True, slots=True)
class HiddenPicture:
    """A picture, and what was hidden in it."""

    image: Image
    faces: int
    bodies: int
    """Heads of persons, lower parts of vehicles and bicycles, number plates and other writing."""
    regions: tuple[Region, ...] = ()
    """Where they lie."""


@dataclass(frozen=True, slots=True)
class HiddenClip:
    """A clip, and what was hidden in it."""

    data: bytes
    count: int
    """Regions in all of its pictures."""
    regions: tuple[tuple[Region, ...], ...] = ()
    """Of each picture."""


@dataclass(frozen=True, slots=True)
class PeopleFinder:
    """What people and plates are found with."""

    faces: tuple[FaceDetector, ...]
    """All that count; the first that is there hides, or all of them."""
    eyes: Looker | None = None
    """Boxes of persons and vehicles; None = no registered model has eyes."""
    plates: tuple[FaceDetector, ...] = ()
    """Finders of number plates."""

    @property
    def names(self) -> str:
        finders = (one.name for one in (*self.faces, *self.plates))
        return " and ".join([*finders, *(["the eyes of a model"] if self.eyes else [])])

    def regions(self, image: Image) -> tuple[list[Region], list[Region]]:
        """(faces, parts of persons and vehicles) of a picture, uint8 [h, w, 3] RGB."""
        height, width = image.shape[:2]
        faces = [_wider(face, width, height) for one in self.faces for face in one.find(image)]
        bodies = veil.regions(self.eyes(image), width=width, height=height) if self.eyes else []
        return faces, [*bodies, *(plate for one in self.plates for plate in one.find(image))]

    def hide(self, image: Image) -> HiddenPicture:
        """A copy with all that is found in blocks. Raises: MediaError."""
        try:
            faces, bodies = self.regions(image)
            covered = (*faces, *bodies)
            return HiddenPicture(veil.blurred(image, covered), len(faces), len(bodies), covered)
        except cv2.error as error:
            raise MediaError(f"A picture cannot be looked through for people ({error.err}).") from error


def _wider(face: Region, width: int, height: int) -> Region:
    left, top, right, bottom = face
    x, y = round((right - left) * FACE_MARGIN), round((bottom - top) * FACE_MARGIN)
    return max(0, left - x), max(0, top - y), min(width, right + x), min(height, bottom + y)


def hidden_clip(path: Path, finder: PeopleFinder | None) -> HiddenClip:
    """A clip as MP4 with what is found in any of its pictures in blocks.

    finder: None = all of every picture is. Its sound is left out, as clips of moments have none. Raises: MediaError.
    """
    film = footage.find(path)
    images = [np.asarray(image) for _, image in _played(film)]
    if finder is None:
        return HiddenClip(encoded([veil.whole(image) for image in images]), len(images))
    found = [list(chain.from_iterable(finder.regions(image))) for image in images]
    around = [found[max(0, number - LAG_FRAMES) : number + LAG_FRAMES + 1] for number in range(len(images))]
    covered = tuple(tuple(chain.from_iterable(near)) for near in around)
    data = encoded([veil.blurred(image, own) for image, own in zip(images, covered, strict=True)])
    return HiddenClip(data, sum(map(len, found)), covered)


def _played(film: footage.Footage) -> list[tuple[float, Image]]:
    return [(at_s, image) for at_s, image in footage.play(film, every_s=1 / CLIP_FPS) if at_s < CLIP_MOST_S]


def encoded(images: Sequence[Image]) -> bytes:
    """Pictures of one size as H.264 in MP4, ten a second. Raises: MediaError."""
    out = io.BytesIO()
    try:
        with av.open(out, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=CLIP_FPS, options=_X264)
            stream.pix_fmt = "yuv420p"
            height, width = images[0].shape[:2]
            stream.width, stream.height = width // 2 * 2, height // 2 * 2
            stream.codec_context.thread_count = 1
            for image in images:
                fitted = np.ascontiguousarray(image[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(fitted, format="rgb24")))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise MediaError(f"A clip cannot be written anew ({error}).") from error
    return out.getvalue()


def finder_of(home: Path, registry: Registry) -> PeopleFinder:
    """All that this server can find people and plates with. Raises: ConfigError."""
    first, writing, plates = _center_face(home), _writing(home), _plates(home)
    faces: tuple[FaceDetector, ...] = (CascadedFaces.load(),) if first is None else (first, CascadedFaces.load())
    return PeopleFinder(faces, eyes_of(registry), tuple(one for one in (writing, plates) if one is not None))


def pair_of(home: Path, registry: Registry) -> tuple[PeopleFinder, tuple[FaceDetector, ...]]:
    """(what hides, what checks it afterwards: for faces and for plates, where there is a second one). Raises:
    ConfigError."""
    first, second, writing, plates = _center_face(home), CascadedFaces.load(), _writing(home), _plates(home)
    finder = PeopleFinder((first or second,), eyes_of(registry), (writing,) if writing else ())
    return finder, (*([second] if first else []), *([plates] if plates else []))


def _center_face(home: Path) -> CenterFace | None:
    path = packaged_weights.CENTERFACE.there(home)
    return None if path is None else CenterFace.load(path)


def _writing(home: Path) -> WritingFinder | None:
    path = packaged_weights.WRITING.there(home)
    return None if path is None else WritingFinder.load(path)


def _plates(home: Path) -> PlateNetwork | None:
    path = packaged_weights.PLATES.there(home)
    return None if path is None else PlateNetwork.load(path)


def eyes_of(registry: Registry) -> Looker | None:
    """What finds persons and vehicles: the champion, or the newest registered model, that has a detector."""
    champion = registry.champion()
    versions = [model.version for model in reversed(registry.list())]
    for version in dict.fromkeys([*([champion] if champion else []), *versions]):
        looker = _looker(registry, version)
        if looker is not None:
            return looker
    return None


def _looker(registry: Registry, version: str) -> Looker | None:
    try:
        model = GuidanceModel.load(registry.bundle_folder(version), threads=1, allow=bundle.FOR_JUDGING)
        blank = np.zeros((240, 320, 3), np.uint8)
        if model.look(blank).boxes is None:
            return None
    except (BundleError, WaycueError, OSError):
        return None
    return lambda image: model.look(image).boxes or ()
