"""The card of a device that sends no more: what is on it reaches the dataset, sealed or not, and once."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from device.outbox import inspect
from device.outbox.outbox import Outbox
from server import config
from server.commands.main import main
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.identity.authority import Authority
from server.identity.sealing_key import SealingKey
from shared.clock import SystemClock
from tests.device.outbox.records import chunk, correction, jpeg, payloads, wav


def made(home: Path) -> Path:
    config.init(home)
    open_store(home).close()
    Authority.make(home, clock=SystemClock())
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return made(tmp_path / "home")


def card(folder: Path, home: Path) -> Path:
    """An outbox with a moment from before there was a key, one from after, and a correction."""
    key = SealingKey.of(Authority(home, clock=SystemClock())).private.public_key()
    for number, sealed_to in ((1, None), (2, key)):
        with closing(Outbox(folder, key=sealed_to)) as box:
            box.seal_chunk(chunk(number), payloads(number, clip_bytes=700_000 if sealed_to else 0))
            if sealed_to is not None:
                box.seal_correction(correction(number), wav(7))
    return folder


def rescued(home: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    status = main(["--home", str(home), "rescue", str(folder), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_all_that_is_on_a_card_is_taken_in_and_nothing_twice(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = card(tmp_path / "outbox", home)
    for _ in range(2):
        status, told = rescued(home, folder, capsys)
        assert (status, [result["problem"] for result in told]) == (0, ["", "", ""])
    dataset = Dataset(home / "dataset")
    rows = {row.sample_id: row for row in dataset.rows()}
    assert sorted(rows) == [chunk(1).chunk_id, chunk(2).chunk_id]
    for number in (1, 2):
        assert (dataset.folder / rows[chunk(number).chunk_id].frame_path).read_bytes() == jpeg(number)
    assert rows[chunk(2).chunk_id].clip_path
    assert sorted(path.name for path in home.glob("rescue-*")) == []
    assert (folder / chunk(2).chunk_id / "frame.jpg").exists(), "the card is left as it is"


def test_what_was_exported_to_a_stick_is_taken_in(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = card(tmp_path / "outbox", home)
    inspect.export(folder, chunk(2).chunk_id, tmp_path / "stick")
    assert rescued(home, tmp_path / "stick", capsys) == (0, [{"record_id": chunk(2).chunk_id, "problem": ""}])


def test_what_cannot_be_taken_is_named_and_costs_the_others_nothing(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = card(tmp_path / "outbox", home)
    (folder / chunk(1).chunk_id / "frame.jpg").write_bytes(b"the card has errors")
    (folder / correction(2).correction_id / "record.json").write_bytes(b"{")
    status, told = rescued(home, folder, capsys)
    assert status == 1
    problems = {result["record_id"]: result["problem"] for result in told}
    assert problems[chunk(2).chunk_id] == ""
    assert problems[chunk(1).chunk_id]
    assert "not JSON" in problems[correction(2).correction_id]


def test_a_card_of_another_server_is_told_apart(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = card(tmp_path / "outbox", made(tmp_path / "other"))
    shutil.rmtree(folder / chunk(1).chunk_id)
    status, told = rescued(home, folder, capsys)
    assert status == 1
    assert all("another key than this server's" in result["problem"] for result in told)


def test_a_folder_without_records_is_no_card(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["--home", str(home), "rescue", str(tmp_path / "empty")]) == 2
    assert "holds no records" in capsys.readouterr().err
