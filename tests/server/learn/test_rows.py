"""Which rows of a dataset teach, and which judge."""

from __future__ import annotations

import shutil
import struct
import tracemalloc
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.onnx.bundle import describe
from server import walks
from server.dataset import material, pictures
from server.dataset.folder import Dataset
from server.dataset.material import Senses
from server.dataset.sample_row import SampleRow, to_dict
from server.dataset.teaching import training_rows
from server.gate import cases
from server.learn import bases, bundles, examples, tonight
from server.learn.examples import ViewPlan
from server.model import checkpoint as checkpoints
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import DatasetError
from shared.model_card import card_of
from tests.server.dataset.moments import wav
from tests.server.learn.parts import layout, reviewed_home, shot, tone

ROW = SampleRow(
    row_id="a#1", sample_id="pi-1-b00t-000001", frame_path="frames/none.jpg", audio_path="audio/none.wav",
    instruction="x", timestamp=0.0, device="pi-1", walk_id="w", reviewed=True, ground_truth="Stop, curb ahead.",
)  # fmt: skip


def test_only_confirmed_rows_of_the_training_split_teach() -> None:
    others = [
        replace(ROW, reviewed=False),
        replace(ROW, split="held_out"),
        replace(ROW, ground_truth="Watch out for that thing over there"),
    ]
    assert training_rows([ROW, *others]) == [ROW]


def test_confirmed_silence_teaches() -> None:
    silent = replace(ROW, ground_truth="")
    assert training_rows([silent]) == [silent]


@pytest.mark.parametrize(
    ("said", "text", "blurred", "unblurred"),
    [
        (None, "Stop, person ahead.", True, True),
        (5, "Stop, person ahead.", True, True),
        ("0 regions", "Stop, person ahead.", True, True),
        ("1 regions", "Stop, curb ahead.", True, False),
        ("1 regions", "Stop, person ahead.", False, False),
        ("whole", "Stop, curb ahead.", False, False),
    ],
)
def test_what_was_hidden_from_a_picture_is_not_taught_from_it(
    said: object, text: str, blurred: bool, unblurred: bool, tmp_path: Path
) -> None:
    dataset = Dataset(tmp_path)
    row = replace(ROW, ground_truth=text, extra={} if said is None else {"hidden": said})
    with dataset.appending():
        dataset.append([to_dict(row)])
    assert bool(tonight.view_of(dataset).teaching) is blurred
    assert bool(tonight.view_of(dataset, blurred=False).teaching) is unblurred


def test_a_night_holds_what_it_may_use_in_little_memory_and_knows_of_the_rest_what_it_asks(tmp_path: Path) -> None:
    dataset, many = Dataset(tmp_path), 3000
    rows = [
        replace(
            ROW, row_id=f"m-{n}#1", sample_id=f"m-{n}", frame_path=f"frames/{n}.jpg", reviewed=n % 3 == 0, timestamp=n
        )
        for n in range(many)
    ]
    rows += [replace(rows[1], row_id="m-1#2", reviewed=True), replace(rows[3], row_id="m-3#2", erased=True)]
    rows += [
        replace(rows[2], row_id="h#1", sample_id="h", split="held_out"),
        replace(rows[2], row_id="o#1", sample_id="o"),
    ]
    with dataset.appending():
        dataset.append(map(to_dict, rows))
    tracemalloc.start()
    view = tonight.view_of(dataset, allowed=lambda row: row.sample_id != "m-6")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = {row.sample_id for row in view.rows}
    assert kept == {f"m-{n}" for n in range(0, many, 3)} - {"m-3", "m-6"} | {"m-1", "h"}
    assert len(view.teaching) == len(kept) - 1
    assert view.teaching[0] in rows
    assert len(view.pictures) == many - 2, "of those that wait, too: what was computed of them is kept"
    assert size < 400 * many, "2.1 KB for each row, as objects"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_home(tmp_path_factory.mktemp("rows") / "home", walks_of={"walk-1": 3})


def test_a_row_becomes_itself_its_mirror_and_variations(home: Path) -> None:
    (row, *_) = Dataset(home / "dataset").rows()
    made = examples.examples(home / "dataset", [row], layout(), ViewPlan(variations=5, seed=1))
    again = examples.examples(home / "dataset", [row], layout(), ViewPlan(variations=5, seed=1))
    assert [example.text for example in made[::2]] == [row.ground_truth] * 3
    assert (made[1].tile == made[0].tile[:, ::-1]).mean() > 0.9
    assert all((a.tile == b.tile).all() for a, b in zip(made, again, strict=True))
    assert len({example.tile.tobytes() for example in made}) == 5


@pytest.fixture
def heard_and_seen(home: Path, tmp_path: Path) -> tuple[Path, SampleRow]:
    """A row whose clip is 1 s of black, then white, and whose sound is a tone."""
    (row, *_) = Dataset(home / "dataset").rows()
    folder = tmp_path / "dataset"
    for name in ("frames", "clips", "audio"):
        (folder / name).mkdir(parents=True)
    shutil.copy(home / "dataset" / row.frame_path, folder / row.frame_path)
    film(folder / "clips" / "1.mp4", [np.full((48, 64, 3), 255 * (n >= 20), np.uint8) for n in range(40)])
    samples = (tone(300.0) * 32767).astype(np.int16)
    with wave.open(str(folder / "audio" / "1.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())
    return folder, replace(row, clip_path="clips/1.mp4", audio_path="audio/1.wav", duration_s=2.0)


def film(file: Path, pictures: list[NDArray[np.uint8]]) -> None:
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


def test_a_row_gives_the_picture_one_look_before_and_its_sound(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    earlier = material.before(folder, row)
    assert earlier is not None
    assert earlier.max() < 40, "a quarter of a second before the middle, the clip is still black"
    heard = material.sound(folder, row)
    assert heard is not None
    assert heard.shape == (2 * SAMPLE_RATE_HZ,)
    assert np.abs(heard - tone(300.0)).max() < 1e-3


def test_views_share_their_sound_and_change_both_pictures_alike(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    given = Senses(before=True, sound=True)
    made = examples.examples(folder, [row], layout(), ViewPlan(variations=8, seed=1, senses=given))
    assert all(example.previous is not None for example in made)
    assert len({id(example.sound) for example in made}) == 2, "one array, and None"
    assert [example.sound is None for example in made] == [n % 4 == 3 for n in range(8)]
    plain = examples.examples(folder, [row], layout(), ViewPlan(variations=8, seed=1))
    assert all((a.tile == b.tile).all() for a, b in zip(made, plain, strict=True)), "what is seen now does not depend"
    (case,) = cases.cases(folder, [(row, "real")], given, progress=print)
    assert case.previous is not None
    assert case.sound is not None


def test_a_row_whose_clip_or_sound_is_gone_or_broken_still_teaches(heard_and_seen: tuple[Path, SampleRow]) -> None:
    folder, row = heard_and_seen
    for path in ("", "clips/none.mp4", row.frame_path):
        other = replace(row, clip_path=path, audio_path=path)
        assert material.before(folder, other) is None or path == row.frame_path
        assert material.sound(folder, other) is None


@pytest.fixture(scope="module")
def good(home: Path) -> tuple[Path, SampleRow]:
    (row, *_) = Dataset(home / "dataset").rows()
    return home / "dataset", row


JPEG_END = b"\xff\xd9"
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "empty"),
    "half": (lambda data: data[: len(data) // 2], "damaged or cut off"),
    "half, and an end": (lambda data: data[: len(data) // 2] + JPEG_END, "damaged or cut off"),
    "its last hundred bytes are zeros": (lambda data: data[:-100] + bytes(100), "damaged or cut off"),
    "text": (lambda data: b"not a picture at all", "no picture"),
    "random": (lambda data: np.random.default_rng(1).bytes(5000), "no picture"),
    "header only": (lambda data: data[:300], "damaged or cut off"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_picture_is_refused_with_the_reason(
    good: tuple[Path, SampleRow], tmp_path: Path, damage: str
) -> None:
    folder, row = good
    spoil, why = DAMAGES[damage]
    (tmp_path / "one.jpg").write_bytes(spoil((folder / row.frame_path).read_bytes()))
    assert why in pictures.load(tmp_path / "one.jpg")[1]
    with pytest.raises(DatasetError, match=rf"one\.jpg of it cannot be read: .*{why}.*reject the sample"):
        pictures.read(tmp_path / "one.jpg", of=" of it")


def test_a_flipped_bit_shows_in_a_file_that_is_named_by_its_content(
    good: tuple[Path, SampleRow], tmp_path: Path
) -> None:
    folder, row = good
    data = bytearray((folder / row.frame_path).read_bytes())
    data[len(data) // 2] ^= 1
    file = tmp_path / Path(row.frame_path).name
    file.write_bytes(bytes(data))
    assert pictures.load(file) == (None, "its bytes are not those that it is named by")


def test_whole_pictures_of_every_kind_are_read_as_opencv_reads_them(tmp_path: Path) -> None:
    image = shot(3).image
    for name, options in {
        "plain.jpg": [],
        "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "restarts.jpg": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
        "optimal.jpg": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        "a.png": [],
    }.items():
        cv2.imwrite(str(tmp_path / name), image, options)
        read, why = pictures.load(tmp_path / name)
        assert why == ""
        assert read is not None
        plain = cv2.imread(str(tmp_path / name))
        assert plain is not None
        assert (read == cv2.cvtColor(plain, cv2.COLOR_BGR2RGB)).all()
    cv2.imwrite(str(tmp_path / "grey.jpg"), image[:, :, 0])
    (tmp_path / "more.jpg").write_bytes((tmp_path / "plain.jpg").read_bytes() + b"a camera's own data" * 40)
    assert [pictures.load(tmp_path / name)[1] for name in ("grey.jpg", "more.jpg")] == ["", ""]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_picture_cut_anywhere_is_refused(good: tuple[Path, SampleRow], share: float) -> None:
    folder, row = good
    data = (folder / row.frame_path).read_bytes()
    cut = data[: int(len(data) * share)]
    assert pictures.fault(data) == ""
    assert pictures.fault(cut)
    assert share > 0.99 or pictures.fault(cut + JPEG_END), "a last block or two, closed again, pass"


def test_what_cannot_be_read_is_put_aside_by_row_and_file(good: tuple[Path, SampleRow], tmp_path: Path) -> None:
    folder, row = good
    shutil.copytree(folder, tmp_path / "d")
    (tmp_path / "d" / "frames" / "folder.jpg").mkdir()
    others = [
        replace(row, sample_id=name, row_id=f"{name}#1", frame_path=f"frames/{name}.jpg") for name in ("no", "folder")
    ]
    whole, aside = material.readable(tmp_path / "d", [row, *others], Senses())
    assert whole == [row]
    assert aside == [
        "put aside: sample no, frames/no.jpg: No such file or directory",
        "put aside: sample folder, frames/folder.jpg: Is a directory",
    ]


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "folder", "no samples"])
def test_a_row_without_its_sound_or_clip_teaches_and_is_listed(
    heard_and_seen: tuple[Path, SampleRow], damage: str
) -> None:
    folder, row = heard_and_seen
    whole, aside = material.readable(folder, [row], Senses(before=True, sound=True))
    assert (whole, aside) == ([row], [])
    for path in (row.audio_path, row.clip_path):
        (folder / path).unlink()
        if damage == "folder":
            (folder / path).mkdir()
        elif damage == "no samples":
            (folder / path).write_bytes(wav(np.zeros(0, np.int16)))
        elif damage != "missing":
            (folder / path).write_bytes({"empty": b"", "text": b"nothing to hear"}[damage])
    whole, aside = material.readable(folder, [row], Senses(before=True, sound=True))
    assert whole == [row]
    assert aside == [
        f"without its sound: sample {row.sample_id}, audio/1.wav: it cannot be read",
        f"without its clip: sample {row.sample_id}, clips/1.mp4: it cannot be read",
    ]
    assert material.readable(folder, [row], Senses()) == ([row], []), "what nobody asks for is not looked at"
    plan = ViewPlan(variations=2, seed=1, senses=Senses(before=True, sound=True))
    made = examples.examples(folder, [row], layout(), plan)
    assert [(example.previous, example.sound) for example in made] == [(None, None)] * 2


def test_a_night_takes_so_many_rows_and_no_more_and_what_is_new_comes_first() -> None:
    many = [replace(ROW, row_id=f"s{n}#1", sample_id=f"s{n:06d}") for n in range(5000)]
    new = many[-300:]
    assert examples.tonight(many, new, most=5000, seed=7) == many
    chosen = examples.tonight(many, new, most=1000, seed=7)
    assert len(chosen) == len({row.row_id for row in chosen}) == 1000
    assert chosen == examples.tonight(many, new, most=1000, seed=7)
    assert {row.row_id for row in new} <= {row.row_id for row in chosen}
    assert chosen != examples.tonight(many, new[:200], most=1000, seed=7), "another night draws others of the old ones"
    flood = examples.tonight(many, many[1000:], most=1000, seed=7)
    assert sum(row in many[:1000] for row in flood) > 50, "what was learnt keeps its share"


def test_many_rows_give_fewer_views_each(good: tuple[Path, SampleRow]) -> None:
    folder, row = good
    every = examples.examples(folder, [row], layout(), ViewPlan(variations=24, seed=1))
    assert len(every) == 24
    some = examples.examples(folder, [row] * 10, layout(), ViewPlan(variations=24, seed=1, most=30))
    assert len(some) == 30
    assert len({example.tile.tobytes() for example in some}) == 3, "the same row gives the same views"
    assert len(examples.examples(folder, [row] * 3, layout(), ViewPlan(variations=4, seed=1, most=2))) == 3


def test_a_picture_that_is_gone_is_named(home: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.jpg of sample pi-1-b00t-000001.*reject the sample"):
        material.picture(home / "dataset", ROW)


def test_a_picture_whose_header_says_that_it_is_huge_is_named_too(tmp_path: Path) -> None:
    encoded = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    size_at = encoded.index(b"\xff\xc0") + 5  # height and width in the frame header
    struct.pack_into(">HH", encoded, size_at, 65_500, 65_500)
    (tmp_path / "huge.jpg").write_bytes(encoded)
    with pytest.raises(DatasetError, match=r"huge\.jpg.*cannot be read"):
        pictures.read(tmp_path / "huge.jpg")


def test_a_nights_model_sees_what_enough_rows_name() -> None:
    def rows(text: str, count: int) -> list[SampleRow]:
        return [replace(ROW, ground_truth=text)] * count

    least = bundles.SEES_FROM_ROWS
    taught = [*rows("Caution, cone ahead.", least), *rows("Caution, dog ahead.", least - 1), *rows("", 20)]
    assert bundles.objects_taught(taught) == ("cone",)
    starter, hub = (checkpoints.load(bases.STARTER_FOLDER) for _ in range(2))
    hub.known = ()
    for base, sees in ((starter, {*walks.KNOWN, "cone"}), (hub, set[str]())):
        what = bundles.with_taught(bundles.exportable(base), bundles.objects_taught(taught))
        assert set(card_of(describe(what, precision="float32")).sees) == sees
