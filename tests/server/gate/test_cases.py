"""Which moments judge, which calibrate, which travel, and how answers to them become what the gate compares."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from exporters.onnx.bundle import GoldenChunk, write_golden
from server.dataset import material
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.teaching import training_rows
from server.evaluation import answers as evaluate
from server.evaluation.answers import Answer, Case
from server.evaluation.facts import REAL, TAUGHT
from server.evaluation.measures import percentile
from server.gate import cases, cost, golden, judge, scoring
from server.gate.cost import StatusReport
from server.gate.evidence import SILENCE, UNKNOWN
from server.releases.registry import Registry
from shared import vocabulary
from shared.clock import ManualClock
from shared.messages import Status
from tests.server.dataset.moments import House
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

PLAIN = material.Senses()
PIXEL = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_home(tmp_path_factory.mktemp("cases"), walks_of={"walk-1": 8})


def view(home: Path, **changes: object) -> list[SampleRow]:
    return [replace(row, **changes) for row in Dataset(home / "dataset").rows()]  # type: ignore[arg-type]


def test_cases_are_held_out_moments_and_the_corrections_that_teach(home: Path) -> None:
    found = view(home)
    found[0] = replace(found[0], split="held_out", walk_id="other")
    found[1] = replace(found[1], correction_id="c1", ground_truth="")
    found[2] = replace(found[2], correction_id="c2", reviewed=False)
    found[3] = replace(found[3], split="golden", walk_id="third", correction_id="c3")
    made = cases.real(home / "dataset", found, training_rows(found), PLAIN, progress=print)
    assert [(case.case_id, case.group, case.walk) for case in made] == [
        (found[0].sample_id, REAL, "other"),
        (found[1].sample_id, TAUGHT, "walk-1"),
    ]
    assert made[1].text == vocabulary.CLEAR
    assert made[0].image.dtype == np.uint8


def test_a_picture_that_cannot_be_read_is_left_out_and_said(home: Path) -> None:
    said: list[str] = []
    found = view(home, split="held_out")
    found[0] = replace(found[0], frame_path="frames/none.jpg")
    made = cases.real(home / "dataset", found, [], PLAIN, progress=said.append)
    assert len(made) == 7
    assert len(said) == 1
    assert f"of sample {found[0].sample_id}" in said[0]


def test_moments_that_follow_one_another_make_a_walk_and_others_none(home: Path) -> None:
    times = (0.0, 2.0, 4.0, 30.0, 60.0, 62.0, 64.0, 66.0)
    found = [replace(row, timestamp=t, split="held_out") for row, t in zip(view(home), times, strict=True)]
    made = cases.courses(home / "dataset", list(reversed(found)))
    assert [(course.group, course.duration_s) for course in made] == [("walk-1", 6.0), ("walk-1", 8.0)]
    assert [frame.t_s for frame in made[0].frames()] == [0.0, 2.0, 4.0]
    assert made[0].events, "the cone that people confirmed"


def test_a_walk_held_out_late_is_known_to_whom_it_taught(home: Path) -> None:
    found = view(home, split="held_out")
    assert cases.known_to(found, frozenset({found[2].sample_id})) == ("walk-1",)
    assert cases.known_to(view(home), frozenset({found[2].sample_id})) == ()
    assert cases.known_to(found, frozenset()) == ()


def test_what_could_be_held_out_is_counted_by_tier(home: Path) -> None:
    found = view(home)
    found[0] = replace(found[0], ground_truth="")
    found[1] = replace(found[1], ground_truth="Stop, curb ahead.")
    (counts,) = cases.stock(training_rows(found)).walks.values()
    assert (counts[SILENCE], counts[1]) == (1, 1)
    assert sum(counts.values()) == 8


def test_a_golden_walk_whose_pictures_teach_or_are_judged_on_is_calibrated_on_nowhere(home: Path) -> None:
    found = [replace(row, split="golden", walk_id=f"golden-{n}", golden=True) for n, row in enumerate(view(home)[:3])]
    same = replace(found[0], split="held_out", walk_id="held", golden=False)
    taught = replace(found[1], split="train", walk_id="taught", golden=False)
    kept, spoiled = cases.to_calibrate([*found, same, taught], [taught])
    assert [row.walk_id for row in kept] == ["golden-2"]
    assert spoiled == ("golden-0", "golden-1")
    assert cases.to_calibrate(found, [])[1] == ()


# --- answers ----------------------------------------------------------------------------------------------------------


def scored(due: str, said: str, *head: tuple[str, str, float], above: float = 0.5):  # type: ignore[no-untyped-def]
    answer = Answer(Case("c", REAL, PIXEL, due, walk="w"), said, 0.7, head, 1.0, 1.0)
    (found,) = scoring.case_scores([answer], {"hazard_above": above})
    return found


@pytest.mark.parametrize(
    ("due", "said", "warned"),
    [
        ("Caution, pole on the left.", "Stop, pole on the left.", True),
        ("Caution, pole on the left.", "Continue straight, pole on the left.", False),
        ("Caution, pole on the left.", "Caution, pole on the right.", False),
    ],
)
def test_an_obstacle_is_warned_of_by_words_that_name_it_at_its_side_and_ask_for_as_much_care(
    due: str, said: str, warned: bool
) -> None:
    assert scored(due, said).warned is warned


@pytest.mark.parametrize("said", ["Stop, curb ahead.", vocabulary.CLEAR])
@pytest.mark.parametrize(
    ("head", "warned"),
    [
        ([], False),
        ([("curb", "ahead", 0.6)], True),
        ([("curb", "ahead", 0.59)], False),
        ([("curb", "on the left", 0.9)], False),
        ([("vehicle", "ahead", 0.9)], False),
        ([("vehicle", "ahead", 0.9), ("curb", "ahead", 0.7)], True),
    ],
)
def test_a_thing_to_stop_for_is_warned_of_by_the_hazard_head_alone(
    said: str, head: list[tuple[str, str, float]], *, warned: bool
) -> None:
    assert scored("Stop, curb ahead.", said, *head, above=0.6).warned is warned


def test_what_quantisation_costs_is_told_by_held_out_cases_not_by_what_taught() -> None:
    def answers(said: str) -> list[Answer]:
        due = "Caution, pole on the left."
        taught = [Case(f"t{n}", TAUGHT, PIXEL, due, walk="t") for n in range(30)]
        return [
            Answer(Case("c", REAL, PIXEL, due, walk="w"), said, 0.7, (), 1.0, 1.0),
            *(Answer(case, due, 0.9, (), 1.0, 1.0) for case in taught),
        ]

    assert scoring.quantised(answers("Caution, pole on the left."), answers(vocabulary.CLEAR)) == (1.0, 1)


def test_silence_what_names_nothing_and_unknown_are_told_apart() -> None:
    assert scored(vocabulary.CLEAR, vocabulary.CLEAR).tier == SILENCE
    assert scored("Turn right.", vocabulary.CLEAR).tier == UNKNOWN
    assert not scored("Turn right.", vocabulary.CLEAR).false_clear
    assert scored("Stop, curb ahead.", "Continue straight.").false_clear, "whatever words it has for nothing"
    assert not scored("Stop, curb ahead.", "Stop, vehicle ahead.").false_clear
    assert scored("Stop, curb ahead.", "Stop, curb ahead.").confidence == 0.7


# --- golden pictures --------------------------------------------------------------------------------------------------


def test_golden_pictures_carry_no_metadata_no_name_and_no_id(home: Path, tmp_path: Path) -> None:
    """They travel to other people's devices."""
    folder = tmp_path / "dataset"
    (folder / "frames").mkdir(parents=True)
    secret = b"GPS 52.1,4.3 pi-1-b00t"
    found = []
    for row in view(home, split="golden"):
        jpeg = (home / "dataset" / row.frame_path).read_bytes()
        comment = b"\xff\xfe" + (len(secret) + 2).to_bytes(2, "big") + secret
        reported = jpeg[:2] + comment + jpeg[2:]
        found.append(replace(row, frame_path=f"frames/{hashlib.sha256(reported).hexdigest()}.jpg"))
        (folder / found[-1].frame_path).write_bytes(reported)
    chunks = golden.of_rows(folder, cases.golden(found), progress=print)
    assert len(chunks) == 8
    write_golden(tmp_path, chunks)
    written = b"".join(file.read_bytes() for file in sorted((tmp_path / "golden").iterdir()))
    assert secret not in written
    assert b"Exif" not in written
    for row in found:
        for name in (row.sample_id, row.device, row.walk_id, Path(row.frame_path).stem):
            assert name.encode() not in written


def test_a_large_golden_picture_is_scaled_for_the_way(tmp_path: Path, home: Path) -> None:
    row = replace(view(home)[0], frame_path="big.jpg")
    cv2.imwrite(str(tmp_path / "big.jpg"), np.zeros((1080, 1920, 3), np.uint8))
    (chunk,) = golden.of_rows(tmp_path, [row], progress=print)
    assert chunk.image.shape == (360, 640, 3)


def test_golden_pictures_are_taken_from_walks_in_turns(home: Path) -> None:
    found = [replace(row, walk_id=f"walk-{n // 3}") for n, row in enumerate(view(home))]
    taken = [row.walk_id for row in golden._in_turns(found)]
    assert taken[:3] == ["walk-0", "walk-1", "walk-2"]


def test_only_golden_pictures_that_the_bundle_has_right_travel(starter_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(starter_bundle, tmp_path / "bundle"))
    good = golden.of_bundle(bundle)
    wrong = GoldenChunk(np.full((240, 320, 3), 127, np.uint8), "curb", "ahead", must_stop=True)
    shutil.rmtree(bundle / "golden")
    write_golden(bundle, [wrong, *good])
    judge.restamp(bundle)
    kept, stops = golden.prune(bundle, threads=1)
    assert stops >= 4
    assert kept == len(golden.of_bundle(bundle))
    assert not any((chunk.image == 127).all() for chunk in golden.of_bundle(bundle))


def test_a_field_model_is_compared_with_pytorch_on_its_own_golden_and_held_out_pictures(
    home: Path, tmp_path: Path
) -> None:
    from server.model import checkpoint as checkpoints

    field = checkpoints.load(save_field_checkpoint(tmp_path / "field"))
    found = view(home)
    assert golden.parity_moments(field, home / "dataset", found) == []
    found[0], found[1] = replace(found[0], golden=True), replace(found[1], split="held_out", walk_id="w")
    assert len(golden.parity_moments(field, home / "dataset", found)) == 2


# --- what a look takes ------------------------------------------------------------------------------------------------


def test_the_slowest_device_of_a_kind_speaks_for_it() -> None:
    said = [
        StatusReport("pi", "a", 300.0),
        StatusReport("pi", "a", 350.0),
        StatusReport("pi", "b", 200.0),
        StatusReport("jetson", "a", 40.0),
        StatusReport("pi", "gone", 9999.0),
    ]
    reports, ignored = cost.scaled(said, {"a": 1.2, "b": 2.4}, 80.0)
    found = {one.kind: one for one in reports}
    assert ignored == ()
    reported = found["pi"]
    assert (reported.version, reported.look_p95_ms, reported.ratio, reported.devices) == ("b", 200.0, 2.4, 1)
    assert found["jetson"].look_p95_ms == 40.0
    assert cost.scaled(said, {}, 80.0) == ((), ())
    assert cost.unknown(said, {"a": 1.2}) == {}
    assert cost.unknown(said, {"b": 1.2}) == {"jetson": ("a",)}


@pytest.mark.parametrize("wrong_ms", [0.01, 1e9])
def test_a_report_that_cannot_be_is_left_out_and_named(wrong_ms: float) -> None:
    said = [StatusReport("pi", "a", 300.0), StatusReport("pi", "a", wrong_ms)]
    (reported,), (ignored,) = cost.scaled(said, {"a": 1.0}, 80.0)
    assert (reported.look_p95_ms, reported.devices) == (300.0, 1)
    assert ignored.look_p95_ms == wrong_ms


def test_reports_are_what_devices_last_said_with_both_kind_and_time(tmp_path: Path) -> None:
    house = House(tmp_path, clock=ManualClock())
    for device, kind, p95_ms in (("a", "raspberry-pi-5", 310.0), ("b", "", 200.0), ("c", "raspberry-pi-5", 0.0)):
        status = Status(True, model_version="v1", device_kind=kind, look_p95_ms=p95_ms)
        house.merge.put_statuses({device: status})
    registry = Registry(tmp_path, store=house.store)
    assert cost.reports(registry) == [StatusReport("raspberry-pi-5", "v1", 310.0)]
    house.close()


def test_a_burst_of_load_hits_all_models_alike_and_none_lastingly() -> None:
    """A clock on which the third round of four is ten times slower: what counts is each picture's fastest round."""
    now, calls = [0.0], [0]

    def look(milliseconds: float):  # type: ignore[no-untyped-def]
        def run(image: object) -> None:
            calls[0] += 1
            slow = 10.0 if 12 <= calls[0] - 2 < 18 else 1.0
            now[0] += milliseconds * slow / 1e3

        return run

    pictures = [PIXEL] * 3
    took = cost.in_turns({"a": look(10.0), "b": look(15.0)}, pictures, rounds=4, seconds=lambda: now[0])
    assert percentile(took["a"], 95) == pytest.approx(10.0)
    assert cost.ratio(took["b"], took["a"]) == pytest.approx(1.5)


def test_drawn_looks_name_their_walk_and_single_frames_are_their_own() -> None:
    looks = evaluate.walk_cases(30)
    assert len({case.walk for case in looks}) == 2
    frames = evaluate.rendered_cases(3)
    assert [case.walk for case in frames] == [case.case_id for case in frames]
