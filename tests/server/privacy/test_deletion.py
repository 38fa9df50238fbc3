"""A deleted moment, walk or wearer is in no byte of the whole home, and a proof says what went and what is left."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, select, text

from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.tables import deletions
from server.consent.terms import GRANTED
from server.database import store as db
from server.dataset import derived, feature_cache, view
from server.dataset.feature_cache import FeatureCache, Piece
from server.maintenance.check import check
from server.privacy import deletion, exports, plans
from server.privacy import proof as proofs
from server.privacy.deletion import DeletionPort
from server.privacy.exports import DELETED_NAME
from server.privacy.plans import DeletionKind
from server.releases.registry import Registry, Taught
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollouts import Rollouts
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import ManualClock
from shared.errors import Refused
from shared.plural import several
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House
from tests.server.privacy.planted import places, planted, send
from tests.shared.bundle.bundles import contents, make_bundle


def port_of(house: House) -> DeletionPort:
    return deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)


def everywhere(house: House, ids: list[str]) -> None:
    """Leave traces of these moments in everything that a server keeps about one."""
    home = house.home
    for sample_id in ids:
        decisions.review(
            house.store, house.dataset, sample_id, ReviewDecision("edit", "Eve", "Stop, curb ahead."), now_s=1.0
        )
    rows = {row.sample_id: row for row in house.dataset.rows()}
    for sample_id in ids:
        cache = FeatureCache(home / feature_cache.FOLDER, "abc", shape=(4,))
        piece = Piece(f"{sample_id}:1", Path(rows[sample_id].frame_path).stem)
        cache.add([piece], np.ones((1, 4), np.float16))
    view.write(house.dataset)
    marks = [rows[sample_id].raw_output for sample_id in ids]
    kept = derived.folder(home) / "answers" / "a.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(marks))
    night = home / "nights" / "0123456789abcdef"
    night.mkdir(parents=True, exist_ok=True)
    (night / "features.json").write_text(json.dumps(marks))
    (home / "nights" / "n1.json").write_text(json.dumps({"put_aside": [f"sample {sample_id}" for sample_id in ids]}))
    for sample_id in ids:
        folder = home / "incoming" / "pi-1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sample_id}.clip.data").write_bytes(rows[sample_id].raw_output.encode())
        (folder / f"{sample_id}.clip.ranges").write_bytes(b"{}")
        aside = home / "quarantine" / f"pi-1.{sample_id}.frame.00"
        aside.parent.mkdir(exist_ok=True)
        aside.write_bytes(rows[sample_id].raw_output.encode())
        for folder in (aside.parent, home / "importing"):
            folder.mkdir(exist_ok=True)
            (folder / Path(rows[sample_id].audio_path).name).write_bytes(rows[sample_id].raw_output.encode())
        with house.store.writing() as connection:
            put = {"at": 1.0, "device": "pi-1", "record_id": sample_id, "kind": "frame", "sha256": "0" * 64}
            connection.execute(insert(db.quarantine).values(path=aside.name, reason=rows[sample_id].raw_output, **put))
            body = {"told": rows[sample_id].raw_output}
            connection.execute(
                insert(db.telemetry).values(device="pi-1", record_id=sample_id, received_at=1.0, body=body)
            )
            connection.execute(text("CREATE TABLE IF NOT EXISTS of_a_later_room (sample_id TEXT, words TEXT)"))
            values = {"id": sample_id, "words": rows[sample_id].raw_output}
            connection.execute(text("INSERT INTO of_a_later_room VALUES (:id, :words)"), values)
    done = server(home, "export", "--format", "samples", "--out", home / "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["moment", "walk", "wearer"])
def test_no_byte_of_the_home_has_a_mark_of_what_was_deleted(house: House, what: str) -> None:
    shared = {"walk_id": "MARKXwalk", "wearer": "MARKXwearer"} if what != "moment" else {}
    if what == "walk":
        shared = {"walk_id": "MARKXwalk"}
    gone = [send(house, planted(n, "X", **shared)) for n in range(1 if what == "moment" else 2)]
    kept = send(house, planted(3, "K"))
    everywhere(house, [*gone, kept])
    if what == "wearer":
        register.say(house.store, ConsentAnswer("MARKXwearer", 1.0, "Eve", "MARKXhow", GRANTED))
    assert len(list(places(house.home, "X"))) > 12, "the marks are everywhere"
    names = ["--wearer", "MARKXwearer"] if what == "wearer" else ["MARKXwalk"] if what == "walk" else gone
    asked = server(house.home, "samples", "delete", *names, "--dry-run")
    assert several(len(gone), "moment") in asked.stdout
    done = server(house.home, "samples", "delete", *names, "--yes", "--json", "--as", "Eve")
    assert done.returncode == 0, done.stderr
    assert list(places(house.home, "X")) == []
    assert decisions.get(house.store, kept) is not None
    assert len(list(places(house.home, "K"))) > 5
    proof = proofs.from_dict(json.loads(done.stdout))
    assert (proof.moments, proof.what, proof.by, proof.checked) == (len(gone), what, "Eve", True)
    assert proof.ids_sha256 == proofs.ids_sha256(gone)
    assert proof.files["frame"] == proof.files["clip"] == proof.files["correction_audio"] == len(gone)
    assert (proof.files["incoming"], proof.files["exports"]) == (2 * len(gone), 1)
    assert proof.rows["reviews"] == proof.rows["review_acts"] == proof.rows["of_a_later_room"] == len(gone)
    assert not (house.home / "out").exists()
    found = [finding for finding in check(house.home, ManualClock()).findings if finding.what != "file of nobody"]
    assert found == []
    assert house.merge.put_record("pi-1", "chunk", planted(0, "X", **shared)[0].record).state == "refused"
    assert house.merge.put_record("pi-1", "chunk", planted(9, "X", **shared)[0].record).declined is (what == "wearer")


def test_cut_off_at_any_step_it_is_finished_by_the_next_who_looks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, step in enumerate(("_erase", "_other_rows", "_rest", "_proof", "emptied")):
        gone = send(house, planted(n, "X", walk_id="w", wearer="a"))
        everywhere(house, [gone])
        with monkeypatch.context() as patch, house.store.reading() as connection:
            plan = plans.of_moments(connection, [gone])

            def cut(*_: object) -> None:
                raise OSError("the power went")

            patch.setattr(deletion, step, cut)
            with pytest.raises(OSError, match="the power went"):
                deletion.carry_out(port_of(house), plan, by="Eve")
        assert deletion.waiting(house.store) == 1, step
        (proof,) = deletion.finish(port_of(house))
        assert (proof.moments, proof.checked) == (1, True), step
        assert list(places(house.home, "X")) == [], step
        assert deletion.finish(port_of(house)) == []
    with house.store.reading() as connection:
        assert set(map(str, connection.execute(select(deletions.c.plan)).scalars())) == {"{}"}


def test_an_export_that_is_only_marked_says_what_must_go_and_the_proof_names_it(house: House) -> None:
    gone = send(house, planted(0, "X"))
    everywhere(house, [gone])
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [gone])
    settings = ConsentSettings(exports="mark", backups="the drawer, the cellar")
    proof = deletion.carry_out(port_of(house), deletion.with_settings(plan, settings), by="Eve")
    marked = json.loads((house.home / "out" / DELETED_NAME).read_text())
    assert marked == {"deleted": [gone]}
    told = "\n".join(proofs.in_words(proof))
    for words in ("is still there, and marked", "copies of this server in the drawer", "in the cellar", "elsewhere"):
        assert words in told
    assert deletion.all_proofs(house.store) == [proof]


def test_an_export_that_was_moved_is_named(house: House, tmp_path: Path) -> None:
    gone = send(house, planted(0, "X"))
    everywhere(house, [gone])
    shutil.move(house.home / "out", tmp_path / "elsewhere")
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [gone])
    proof = deletion.carry_out(port_of(house), plan, by="Eve")
    assert any("not there any more: it was moved or deleted" in line for line in proof.left)


def test_bytes_that_another_moment_has_stay_and_are_told(house: House) -> None:
    first = planted(0, "X")[0]
    second = replace(first.record, chunk_id="pi-1-b00t-000009", sequence=9, started_at_s=18.0)
    house.send(first)
    house.send(replace(first, record=second))
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [first.record.chunk_id])
    proof = deletion.carry_out(port_of(house), plan, by="Eve")
    assert any("bytes belong to other moments" in line for line in proof.left)
    assert (house.dataset.folder / next(iter(plan.files))).exists()


@pytest.mark.parametrize(("names", "wearer"), [([], None), (["none"], None), ([], "nobody"), (["a"], "b")])
def test_what_is_not_there_is_not_deleted(house: House, names: list[str], wearer: str | None) -> None:
    house.send(planted(0, "X")[0])
    with house.store.reading() as connection, pytest.raises(Refused):
        plans.named(connection, names, wearer)


def test_it_asks_and_without_an_answer_nothing_is_deleted(house: House) -> None:
    gone = send(house, planted(0, "X"))
    done = server(house.home, "samples", "delete", gone)
    assert done.returncode == 1
    assert "add --yes" in done.stderr
    assert DeletionKind.WEARER not in done.stderr
    assert decisions.get(house.store, gone) is not None


def test_models_that_learnt_from_it_are_named_and_retired_where_the_settings_say_so(
    house: House, tmp_path: Path
) -> None:
    gone = send(house, planted(0, "X"))
    registry = Registry(house.home, store=house.store)
    for n, (version, rows) in enumerate(
        (("m1", ()), ("m2", (f"{gone}#1:00",)), ("m3", (f"{gone}#2:00", "other#1:00")))
    ):
        folder = tmp_path / version
        make_bundle(folder, version, contents(seed=n), parent="m0")
        registry.add(folder, taught=Taught(rows, 1, "0:", "", 1.0))
        registry.promote(version, "test")
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [gone])
    proof = deletion.carry_out(port_of(house), deletion.with_settings(plan, ConsentSettings(retire=True)), by="Eve")
    assert proof.models == proof.retired == ("m2", "m3")
    assert registry.champion() == "m1", "the newest before them that did not learn from it"
    assert registry.alias("previous") is None
    assert [model.state for model in registry.list()] == ["registered", "retired", "retired"]
    with pytest.raises(Refused, match="retired"):
        registry.promote("m3", "again")
    with pytest.raises(Refused, match="retired"):
        Rollouts(registry).start(RolloutRequest("m2", devices=("pi-1",)))
    with pytest.raises(Refused, match="in use"):
        registry.retire("m1", "test")
    assert sum("golden pictures may show some" in line for line in proof.left) == 2


def test_the_only_model_stays_in_use_and_that_is_said(house: House, tmp_path: Path) -> None:
    gone = send(house, planted(0, "X"))
    registry = Registry(house.home, store=house.store)
    make_bundle(tmp_path / "m1", "m1", contents(seed=1), parent="m0")
    registry.add(tmp_path / "m1", taught=Taught((f"{gone}#1:00",), 1, "0:", "", 1.0))
    registry.promote("m1", "test")
    with house.store.reading() as connection:
        plan = plans.of_moments(connection, [gone])
    proof = deletion.carry_out(port_of(house), deletion.with_settings(plan, ConsentSettings(retire=True)), by="Eve")
    assert (proof.models, proof.retired, registry.champion()) == (("m1",), (), "m1")
    assert any("model m1 learnt from 1 of them and is in use" in line for line in proof.left)


def test_an_export_that_failed_leaves_the_earlier_one_in_the_register(house: House) -> None:
    gone = send(house, planted(0, "X"))
    everywhere(house, [gone])
    out = ("--out", house.home / "out", "--force")
    failed = server(house.home, "export", "--format", "samples", *out, "--split", "golden")
    assert failed.returncode == 1
    with house.store.reading() as connection:
        assert [names for _, names in exports.holding(connection, [gone])] == [frozenset({gone})]
    again = server(house.home, "export", "--format", "jsonl", *out)
    assert again.returncode == 0, again.stderr
    with house.store.reading() as connection:
        assert [made.format for made, _ in exports.holding(connection, [gone])] == ["jsonl"]
