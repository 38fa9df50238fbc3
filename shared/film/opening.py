"""What may be opened as a film, and which of its streams are the film."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext

from shared.errors import MediaError
from shared.paths import for_ffmpeg

COPY_HINT = "Copy it again from where it was recorded, or try another file."
UNTIMED_FPS = 25.0
"""Of a raw stream that says nothing of time, as FFmpeg takes it."""
_NO_FILM = ("tty", "image2", "lrc", "srt")
"""FFmpeg plays texts as terminal art, and stills as films of one picture."""
_NO_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def check_file(path: Path) -> None:
    """Raises: MediaError for what is no file, or an empty one."""
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a video.", hint="Name one video file in it.")
    try:
        size = path.stat().st_size
    except OSError as error:
        hint = "Check the path and who may read it."
        raise MediaError(f"{path} cannot be read ({error.strerror}).", hint=hint) from None
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes): nothing was recorded.", hint=COPY_HINT)


def open_film(path: Path) -> InputContainer:
    """Raises: MediaError for what is no video or sound."""
    try:
        # Only local files: a playlist among the recordings must not make anyone open network addresses.
        with for_ffmpeg(path) as name:
            container = av.open(name, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} is not a video that can be played ({reason}). Either it is something else, or the recording was"
            " cut off before its index was written.",
            hint=COPY_HINT,
        ) from None
    name = container.format.name
    if name in _NO_FILM or name.endswith("_pipe"):
        container.close()
        raise MediaError(f"{path} is a picture or a text ({name}), not a video.", hint="Name a video file.")
    return container


def pictures_of(container: InputContainer) -> av.VideoStream | None:
    """The stream that is meant to be seen: the default one, else the largest; covers and thumbnails are none."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _NO_PICTURES]
    return max(streams, key=_worth, default=None)


def sound_of(container: InputContainer) -> av.AudioStream | None:
    """The sound track that is meant to be heard: the default one, else the first."""
    tracks = container.streams.audio
    return next((track for track in tracks if track.disposition & Disposition.default), next(iter(tracks), None))


def start_s(container: InputContainer) -> float:
    """The stamp at which the film begins."""
    return (container.start_time or 0) / av.time_base


def length_s(container: InputContainer) -> float | None:
    """How long its header says that it is."""
    return container.duration / av.time_base if container.duration else None


def rate(stream: av.VideoStream) -> float:
    """Pictures a second as its header says, 0 = it does not."""
    return float(stream.average_rate or stream.guessed_rate or 0)


JOINED = "its times begin again or jump: what follows is played as if it came right after."


def untimed(path: Path, fps: float, *, told: bool) -> str:
    """What people read of a film without times. told: they said how many pictures a second it has"""
    how = "" if told else " If it has more or fewer, say so: --film-fps 15."
    return f"{path} has no times in it: taken as {fps:g} pictures a second.{how}"


def _worth(stream: av.VideoStream) -> tuple[bool, int, int]:
    known: VideoCodecContext | None = stream.codec_context  # None: a codec that nobody knows
    area = 0 if known is None else known.width * known.height
    return bool(stream.disposition & Disposition.default), area, -stream.index
