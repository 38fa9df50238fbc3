"""The same file is the same walk to a device and to those who label it: films of kinds that were read differently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from device.capture.replay import ReplaySource
from device.capture.source import VideoFrame
from server.labelling import footage
from tests.device.capture import films


@dataclass
class Walked:
    """What a device saw and heard."""

    times: list[float]
    first: NDArray[np.uint8]
    sound: NDArray[np.int16]


def walked(path: Path, *, untimed_fps: float = 0.0) -> Walked:
    source = ReplaySource(path, pace="fast", untimed_fps=untimed_fps)
    source.open()
    frames, blocks = list[VideoFrame](), list[NDArray[np.int16]]()
    while (item := source.read(1.0)) is not None:
        if isinstance(item, VideoFrame):
            frames.append(item)
        else:
            blocks.append(item.samples)
    source.close()
    sound = np.concatenate(blocks) if blocks else np.empty(0, np.int16)
    return Walked([frame.t_s for frame in frames], frames[0].image, sound)


def labelled(path: Path, *, untimed_fps: float = 0.0) -> tuple[footage.Footage, list[NDArray[np.uint8]]]:
    """The film, and the picture of each of its chunks."""
    film = footage.find(path, untimed_fps=untimed_fps)
    chunks = [footage.read(film, number) for number in range(film.chunks)]
    assert all(chunk is not None for chunk in chunks)
    decoded = [cv2.imdecode(np.frombuffer(chunk.jpeg, np.uint8), cv2.IMREAD_COLOR) for chunk in chunks if chunk]
    return film, [np.asarray(image, np.uint8)[..., ::-1] for image in decoded]


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(("suffix", "sound"), [("ts", True), ("ts", False), ("mpg", False)])
def test_recordings_that_were_joined_are_walked_and_labelled_to_the_end_and_the_join_is_told_once(
    suffix: str, sound: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = films.make(tmp_path / f"one.{suffix}", seconds=4.0, fps=25.0, sound=sound)
    film = joined(tmp_path / f"all.{suffix}", one, one, one)
    seen = walked(film)
    assert len(seen.times) == 300
    assert seen.times[-1] == pytest.approx(12.0, abs=0.2)
    assert max(np.diff(seen.times)) < 0.2
    assert caplog.text.count("its times begin again or jump") == 1
    known, pictures = labelled(film)
    assert len(pictures) == 6
    assert known.joins == 2
    assert "its times begin again or jump" in known.notes[0]


def with_stamps(path: Path, stamps_s: list[float], *, key_every: int) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"g": str(key_every), "bf": "0"}
        for number, stamp_s in enumerate(stamps_s):
            frame = av.VideoFrame.from_ndarray(films.corners(bar=number / len(stamps_s)), format="rgb24")
            frame.pts, frame.time_base = round(stamp_s * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("key_every", [15, 250])
@pytest.mark.parametrize(("name", "jump_s"), [("a.mkv", 7200.0), ("b.ts", 7200.0), ("c.mkv", 90.0)])
def test_a_clock_that_is_set_while_it_records_is_one_walk_wherever_the_key_frames_are(
    name: str, jump_s: float, key_every: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times_s = [number / 15 for number in range(120)]
    film = with_stamps(
        tmp_path / name, [at_s + (jump_s if number >= 65 else 0.0) for number, at_s in enumerate(times_s)],
        key_every=key_every,
    )  # fmt: skip
    seen = walked(film)
    assert len(seen.times) == 120
    assert seen.times[-1] == pytest.approx(119 / 15, abs=0.3)
    assert "cut off" not in caplog.text
    known, pictures = labelled(film)
    assert known.joins == 1
    assert len(pictures) == 4
    assert [bar_of(image) for image in pictures] == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=0.05)


def with_b_frames(path: Path, codec: str) -> Path:
    """60 pictures of which some are decoded later than they are shown."""
    with av.open(str(path), "w") as out:
        stream = cast(av.VideoStream, out.add_stream(codec, rate=15))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.max_b_frames = 2
        stream.options = {"bf": "3", "b-adapt": "0"} if codec == "libx264" else {}
        for number in range(60):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(films.corners(bar=number / 60), format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "libx264"), ("b.avi", "mpeg4"), ("c.mpg", "mpeg2video"), ("d.mkv", "libx264"), ("e.flv", "libx264")],
)
def test_no_picture_is_lost_where_the_stamps_of_b_frames_are_made_up(
    name: str, codec: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = with_b_frames(tmp_path / name, codec)
    seen = walked(film)
    assert len(seen.times) == 60
    assert np.diff(seen.times).max() <= 2.1 / 15
    assert seen.times[-1] == pytest.approx(59 / 15, abs=1.1 / 15)
    assert "damaged" not in caplog.text
    bars = [bar_of(image) for image in labelled(film)[1]]
    assert bars == pytest.approx([0.25, 0.75], abs=0.05)


def bar_of(image: NDArray[np.uint8]) -> float:
    """Where the white bar of films.corners is, 0 to 1."""
    return (float(image[115:125].min(-1).mean(0).argmax()) - 80) / 160


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("suffix", ["ts", "h264"])
def test_a_film_that_cannot_be_sought_in_is_read_once_and_gives_what_each_chunk_gives_alone(
    suffix: str, tmp_path: Path
) -> None:
    if suffix == "ts":
        one = films.make(tmp_path / "one.ts", seconds=8.0, fps=15.0)
        film = footage.find(joined(tmp_path / "all.ts", one, one))
    else:
        film = footage.find(raw(tmp_path / "raw.h264", "libx264", "h264"), untimed_fps=5.0)
    assert not film.sought
    alone = [footage.read(film, number) for number in range(film.chunks)]
    with closing(footage.Reel(film)) as reel:
        before = bytes_read()
        together = [reel.read(number) for number in range(film.chunks)]
        assert bytes_read() - before < 3 * film.path.stat().st_size + 500_000  # a decoder each for picture and sound
        again = [reel.read(number) for number in (film.chunks - 2, 0, 0, 3)]  # a person goes back and forth
    assert together == alone
    assert again == [alone[number] for number in (film.chunks - 2, 0, 0, 3)]


def raw(path: Path, codec: str, form: str) -> Path:
    with av.open(str(path), "w", format=form) as out:
        stream = cast(av.VideoStream, out.add_stream(codec, rate=15))
        stream.width, stream.height = 320, 240
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none", "preset": "ultrafast"}
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(films.corners(bar=number / 60), format="rgb24")
            out.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("libx265", "hevc"), ("mjpeg", "mjpeg")])
def test_a_film_without_times_gets_the_same_ones_from_all_and_people_may_say_its_rate(
    codec: str, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = raw(tmp_path / f"raw.{form}", codec, form)
    seen = walked(film)
    known, pictures = labelled(film)
    assert len(seen.times) == 60
    assert "no times in it: taken as" in caplog.text
    assert "no times in it: taken as" in known.notes[0]
    assert known.duration_s == pytest.approx(seen.times[-1], abs=0.1)
    at_15 = walked(film, untimed_fps=15.0)
    assert at_15.times == pytest.approx([number / 15 for number in range(60)])
    assert len(labelled(film, untimed_fps=15.0)[1]) == 2
    assert films.corner_names(pictures[0]) == films.corner_names(seen.first) == "RGgB"


def two_streams(path: Path, *, default: int | None, sizes: tuple[tuple[int, int], ...]) -> Path:
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=15) for _ in sizes]
        for number, (stream, (width, height)) in enumerate(zip(streams, sizes, strict=True)):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
        for _ in range(30):
            for stream, (width, height) in zip(streams, sizes, strict=True):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(films.corners(width, height), format="rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("default", "shown"), [(1, (480, 640)), (None, (480, 640)), (0, (90, 160))], ids=["default", "largest", "as told"]
)
def test_the_stream_that_is_meant_to_be_seen_is_seen(
    default: int | None, shown: tuple[int, int], tmp_path: Path
) -> None:
    film = two_streams(tmp_path / "two.mkv", default=default, sizes=((160, 90), (640, 480)))
    assert walked(film).first.shape[:2] == shown
    assert labelled(film)[1][0].shape[:2] == shown


@pytest.mark.parametrize(
    ("pixel", "shown"),
    [
        (Fraction(24, 11), (576, 768)),
        (Fraction(1, 2), (1152, 352)),
        (Fraction(1), (576, 352)),
        (Fraction(99), (576, 352)),
    ],
    ids=["wide", "narrow", "square", "damaged"],
)
def test_pixels_that_are_not_square_are_made_so(pixel: Fraction, shown: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "squeezed.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 352, 576, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel
        for _ in range(30):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(films.corners(352, 576), format="rgb24")))
        out.mux(stream.encode(None))
    assert walked(path).first.shape[:2] == shown
    assert labelled(path)[1][0].shape[:2] == shown


COLOURS = np.array([(200, 60, 40), (60, 160, 60), (50, 70, 190), (128, 128, 128), (30, 30, 30), (220, 220, 220)])


def bright(path: Path, transfer: int) -> Path:
    """Six fields of COLOURS as a phone with HLG, or a camera with PQ, records them."""
    light = (COLOURS / 255.0) ** 2.4 @ np.linalg.inv(_BT2020_TO_709).T * 203.0  # cd/m²
    if transfer == 16:
        y = (light.clip(0) / 10_000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        display = light.clip(1e-9) / 1000
        luminance = (display @ [0.2627, 0.6780, 0.0593])[:, None]
        scene = display * luminance ** ((1 - 1.2) / 1.2)
        above = 0.17883277 * np.log(12 * scene.clip(1 / 12) - 0.28466892) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)
    image = np.zeros((96, 192, 3), np.uint16)
    for number, colour in enumerate(signal):
        image[:, number * 32 : number * 32 + 32] = (colour * 65535).round()
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", rate=15)
        stream.width, stream.height, stream.pix_fmt = 192, 96, "yuv420p10le"
        stream.options = {"x265-params": "log-level=none:lossless=1", "preset": "ultrafast"}
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for _ in range(30):
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le")
            out.mux(stream.encode(frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=1)))
        out.mux(stream.encode(None))
    return path


_BT2020_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
"""ITU-R BT.2087."""


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_a_film_of_high_dynamic_range_has_the_colours_of_an_ordinary_one(transfer: int, tmp_path: Path) -> None:
    film = bright(tmp_path / "bright.mov", transfer)
    for image in (walked(film).first, labelled(film)[1][0]):
        fields = np.array([image[48, number * 32 + 16].astype(int) for number in range(6)])
        assert np.abs(fields[:5] - COLOURS[:5]).max() <= 12
        assert np.ptp(fields[5]) <= 6
        assert 190 <= fields[5].min() <= 210, "what is nearly white makes room for what is brighter"


def test_channels_that_cancel_out_are_heard_by_all(tmp_path: Path) -> None:
    path = tmp_path / "opposite.mkv"
    tone = films.tone(4.0, 16_000)
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("libx264", rate=15)
        pictures.width, pictures.height, pictures.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("flac", rate=16_000, layout="stereo")
        for _ in range(60):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(films.corners(), format="rgb24")))
        for frame in _stereo(tone, -tone):
            out.mux(sound.encode(frame))
        out.mux(pictures.encode(None))
        out.mux(sound.encode(None))
    assert np.abs(walked(path).sound.astype(int)).max() > 9000
    chunk = footage.read(footage.find(path), 1)
    assert chunk is not None
    assert np.abs(np.frombuffer(chunk.wav[44:], np.int16).astype(int)).max() > 9000


def _stereo(left: NDArray[np.int16], right: NDArray[np.int16]) -> Iterator[av.AudioFrame]:
    for start in range(0, len(left), 1024):
        both = np.stack([left[start : start + 1024], right[start : start + 1024]], axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(both), format="s16", layout="stereo")
        frame.rate, frame.pts = 16_000, start
        yield frame
