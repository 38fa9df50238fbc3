"""Blur now: the blurred picture takes the place of the other, which is in no byte of the home any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from exporters.datasets.rows import Row
from server.consent.settings import ConsentSettings
from server.labelling import footage
from server.maintenance.check import check
from server.privacy import deletion, replacing
from server.privacy.anonymous import without_people
from server.privacy.blurring import PeopleFinder, hidden_clip
from server.privacy.deletion import DeletionPort
from server.privacy.faces import CascadedFaces, CenterFace, centres, kept
from server.review import decisions
from shared import hidden
from shared.clock import ManualClock
from shared.errors import ConfigError, Refused
from shared.jpeg import decode_picture
from shared.sight import Box
from shared.veil import Image, Region
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment
from tests.server.privacy.planted import places, planted

SETTINGS = ConsentSettings()


@dataclass(frozen=True)
class Everywhere:
    """A detector for which one place is always a face."""

    region: Region | None
    name: str = "a test"
    finds: str = "a face"

    def find(self, image: Image) -> list[Region]:
        return [] if self.region is None else [self.region]


FINDER = PeopleFinder((Everywhere((100, 60, 180, 140)),), lambda image: [Box("vehicle", 0.9, 0.6, 0.4, 0.9, 0.8)])
NOBODY = PeopleFinder((Everywhere(None),))


def port_of(house: House) -> DeletionPort:
    return deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)


def test_the_blurred_one_takes_the_place_and_the_other_is_gone(house: House) -> None:
    sent, said = planted(0, "X")
    house.send(sent)
    name = sent.record.chunk_id
    before = house.dataset.rows()[0]
    outcome = replacing.blur(port_of(house), name, FINDER, SETTINGS, by="Eve")
    row = decisions.get(house.store, name)
    assert row is not None
    assert (outcome.hidden, row.hidden) == ("2 regions", "2 regions")
    assert row.frame_path != before.frame_path
    assert row.clip_path != before.clip_path
    picture = decode_picture((house.dataset.folder / row.frame_path).read_bytes())
    first = decode_picture(sent.payloads["frame"])
    assert picture is not None
    assert first is not None
    changed = cv2.absdiff(picture, first).max(axis=2)
    assert changed[60:140, 100:180].max() > 40
    assert changed[200:, :60].mean() < 4
    for kind in ("frame", "clip"):
        assert not any(f"MARKX{kind}" in place for place in places(house.home, "X"))
        assert sent.payloads[kind] not in [path.read_bytes() for path in house.home.rglob("*") if path.is_file()]
    assert outcome.proof is not None
    assert outcome.proof.files == {"frame": 1, "clip": 1}
    assert outcome.proof.checked
    assert house.put_part("pi-1", name, sent.record.parts[0], sent.payloads["frame"]).state == "merged"
    assert not (house.dataset.folder / before.frame_path).exists(), "sent again, it is not taken"
    house.send(said)
    after = decisions.get(house.store, name)
    assert after is not None
    assert (after.frame_path, after.hidden) == (row.frame_path, row.hidden), "a correction brings nothing back"
    assert check(house.home, ManualClock()).findings == ()


def test_where_nothing_is_found_nothing_changes_but_all_of_it_can_be_hidden(house: House) -> None:
    house.send(moment(0, with_clip=True))
    name = moment(0).record.chunk_id
    assert replacing.blur(port_of(house), name, NOBODY, SETTINGS, by="Eve").hidden == ""
    assert decisions.get(house.store, name) == house.dataset.rows()[0]
    outcome = replacing.blur(port_of(house), name, NOBODY, SETTINGS, by="Eve", whole=True)
    row = decisions.get(house.store, name)
    assert row is not None
    assert (outcome.hidden, row.hidden) == (hidden.WHOLE, hidden.WHOLE)
    picture = decode_picture((house.dataset.folder / row.frame_path).read_bytes())
    assert picture is not None
    assert float(np.abs(np.diff(picture[:25, :25].astype(float), axis=1)).mean()) < 2
    with pytest.raises(Refused, match="There is no moment"):
        replacing.blur(port_of(house), "none", NOBODY, SETTINGS, by="Eve")


def test_cut_off_after_the_exchange_the_other_picture_still_goes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = planted(0, "X")[0]
    house.send(sent)

    def cut(*_: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "_replaced", cut)
        with pytest.raises(OSError, match="the power went"):
            replacing.blur(port_of(house), sent.record.chunk_id, FINDER, SETTINGS, by="Eve")
    assert any("MARKXframe" in place for place in places(house.home, "X"))
    assert deletion.finish(port_of(house))[0].what == "blur"
    assert not any("MARKXframe" in place for place in places(house.home, "X"))


def test_in_a_clip_a_region_is_hidden_before_and_after_it_was_found(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(moment(0, with_clip=True).payloads["clip"])
    made = hidden_clip(path, PeopleFinder((Everywhere((100, 60, 180, 140)),)))
    data, count = made.data, made.count
    (tmp_path / "out.mp4").write_bytes(data)
    film = footage.find(tmp_path / "out.mp4")
    assert count == 20
    assert abs(film.duration_s - 2.0) < 0.2
    image = next(image for _, image in footage.play(film, every_s=0.1))
    assert float(np.abs(np.diff(image[70:75, 110:115].astype(float), axis=1)).mean()) < 4


def faces_of(image: Image) -> list[Region]:
    return CascadedFaces.load().find(image)


def test_the_second_detector_finds_no_face_in_a_drawn_street_and_none_in_noise() -> None:
    drawn = decode_picture(moment(0).payloads["frame"])
    assert drawn is not None
    assert faces_of(drawn) == []
    assert faces_of(np.zeros((8, 8, 3), np.uint8)) == []


def test_a_map_of_the_first_detector_becomes_one_box_where_it_says_so() -> None:
    heat, two = np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    heat[0, 0, 3, 4], heat[0, 0, 3, 5] = 0.9, 0.5
    scale = two + np.log(4.0).astype(np.float32)
    (box,) = centres(heat, scale, two, least=0.3)
    assert box[:4].tolist() == [10.0, 6.0, 26.0, 22.0]
    assert len(kept(np.zeros((0, 5), np.float32), overlap=0.5)) == 0


def test_weights_that_are_none_are_refused(tmp_path: Path, house: House) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="no network"):
        CenterFace.load(tmp_path / "x.onnx")
    done = server(house.home, "consent", "faces", "--from", tmp_path / "x.onnx")
    assert done.returncode == 1
    assert "other bytes" in done.stderr


def test_the_command_blurs_or_says_that_nothing_was_found(house: House) -> None:
    house.send(moment(0))
    name = moment(0).record.chunk_id
    done = server(house.home, "samples", "blur", name)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"{name}: nothing was found with MTCNN."), done.stderr
    done = server(house.home, "samples", "blur", name, "--whole")
    assert done.stdout.startswith(f"{name}: whole is hidden now.")


def test_an_anonymous_export_leaves_out_what_the_second_detector_still_finds(tmp_path: Path) -> None:
    rows = []
    for n in range(3):
        frame = tmp_path / f"{n}.jpg"
        frame.write_bytes(moment(n).payloads["frame"])
        rows.append(Row(name=f"w_chunk000{n}", text="x", frame=frame))
    clip = tmp_path / "0.mp4"
    clip.write_bytes(moment(0, with_clip=True).payloads["clip"])
    rows[0] = replace(rows[0], clip=clip)
    seen: list[Image] = []

    @dataclass(frozen=True)
    class Second:
        name: str = "another"
        finds: str = "a plate"

        def find(self, image: Image) -> list[Region]:
            seen.append(image)
            found: list[Region] = [(110, 70, 170, 130)]  # in what is hidden already: no reason to leave anything out
            return [*found, (0, 0, 9, 9)] if len(seen) == 6 + 1 else found

    finder = PeopleFinder((Everywhere((100, 60, 180, 140)),))
    left, report = without_people(rows, tmp_path, finder, [Second()])
    assert [row.name for row in left] == ["w_chunk0000", "w_chunk0002"]
    assert (report.left, report.faces, report.pictures) == (["w_chunk0001"], 3, 3)
    assert "Checked by another; 1 moments in which more" in report.in_words()
    assert report.still == {"w_chunk0001": "another still finds a plate in it"}
    for image in seen:
        assert float(np.abs(np.diff(image[70:75, 110:115].astype(float), axis=1)).mean()) < 4, "it looks at hidden ones"
    assert left[0].frame != rows[0].frame
    assert left[0].clip != clip
    unchanged, report = without_people(rows, tmp_path, NOBODY, [])
    assert unchanged == rows
    assert "No second detector checked that" in report.in_words()
