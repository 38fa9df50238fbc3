"""`waycue-device outbox`, as a person types it: beside a running agent and without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.commands.main import main
from device.outbox.outbox import Outbox
from tests.device.outbox.records import chunk, correction, payloads, wav


@pytest.fixture
def box(memory_path: Path) -> Iterator[Outbox]:
    """As an agent has it open: a sent frame, a refused record, a correction that waits."""
    outbox = Outbox(memory_path / "outbox")
    outbox.seal_chunk(chunk(1), payloads(1))
    outbox.seal_chunk(chunk(2), payloads(2))
    outbox.seal_correction(correction(1), wav(1))
    for item in outbox.claim(100):
        if item.name == f"{chunk(1).chunk_id}.frame":
            outbox.merged([item])
        elif item.name == chunk(2).chunk_id:
            outbox.refused(item, "already used")
        else:
            outbox.release([item])
    yield outbox
    outbox.close()


def run(box: Outbox, *words: str, capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    verb, *rest = words
    assert main(["outbox", verb, "--state", str(box.folder.parent), "--json", *rest]) == status
    return json.loads(capsys.readouterr().out)


def test_list_says_what_lies_here_and_why(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    found = {line["record_id"]: line for line in run(box, "list", capsys=capsys)}
    assert {name: line["state"] for name, line in found.items()} == {
        chunk(1).chunk_id: "waiting",
        chunk(2).chunk_id: "refused",
        correction(1).correction_id: "waiting",
    }
    assert found[chunk(1).chunk_id]["merged_bytes"] == len(payloads(1)["frame"])
    assert "already used" in found[chunk(2).chunk_id]["reason"]
    assert [line["record_id"] for line in run(box, "list", "--only", "refused", capsys=capsys)] == [chunk(2).chunk_id]


def test_list_and_show_are_readable_without_json(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    state = str(box.folder.parent)
    assert main(["outbox", "list", "--state", state]) == 0
    assert "already used" in " ".join(capsys.readouterr().out.split())
    assert main(["outbox", "show", chunk(2).chunk_id, "--state", state]) == 0
    shown = capsys.readouterr().out
    assert "refused: audio: already used; frame: already used; record: already used" in shown
    assert "spoken: Stop, curb ahead." in shown


def test_what_was_given_up_is_listed_by_name(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(box, "list", "--lost", capsys=capsys) == []
    box.prune(0)
    reported = run(box, "list", "--lost", capsys=capsys)
    assert {line["record_id"]: line["reason"] for line in reported} == {
        chunk(1).chunk_id: "deleted to make room",
        chunk(2).chunk_id: "deleted to make room",
        correction(1).correction_id: "deleted to make room",
    }


def test_show_tells_each_part_of_a_record(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(box, "show", chunk(1).chunk_id, capsys=capsys)
    assert [(part["kind"], part["state"]) for part in found["parts"]] == [
        ("record", "sending"),
        ("frame", "merged"),
        ("audio", "sending"),
    ]
    assert (found["kind"], found["record"]["spoken"]) == ("chunk", "Stop, curb ahead.")


def test_what_is_not_there_is_said_with_what_to_do(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outbox", "show", "nobody", "--state", str(box.folder.parent)]) == 1
    assert "outbox list" in capsys.readouterr().err
    assert main(["outbox", "retry", "--state", str(box.folder.parent)]) == 2
    assert "--all" in capsys.readouterr().err


def test_retry_beside_a_running_agent_is_done_by_the_agent(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()

    def agent() -> None:
        while not stop.wait(0.02):
            box.retry_requested()

    thread = threading.Thread(target=agent)
    thread.start()
    try:
        done = run(box, "retry", "--all", "nobody", capsys=capsys)
    finally:
        stop.set()
        thread.join()
    assert done == {chunk(2).chunk_id: "waits to be sent again"}
    assert (box.counts().failed, box.counts().queued) == (0, 3)


def test_retry_without_an_agent_is_done_at_once(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    box.close()
    done = run(box, "retry", chunk(2).chunk_id, "nobody", capsys=capsys, status=1)
    assert done[chunk(2).chunk_id] == "waits to be sent again"
    assert "not among the refused" in done["nobody"]


def test_export_copies_whole_records_and_may_be_repeated(
    box: Outbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        done = run(box, "export", str(tmp_path / "stick"), capsys=capsys)
        assert [result["problem"] for result in done] == ["", "", ""]
    for name, data in payloads(1).items():
        copy = tmp_path / "stick" / chunk(1).chunk_id / {"frame": "frame.jpg", "audio": "audio.wav"}[name]
        assert copy.read_bytes() == data
    assert (tmp_path / "stick" / chunk(2).chunk_id / "reason.json").exists()
    assert box.counts().queued == 2


def test_export_names_what_is_damaged_and_copies_the_rest(
    box: Outbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (box.folder / chunk(1).chunk_id / "audio.wav").write_bytes(b"x" * 5000)
    (box.folder / correction(1).correction_id / "correction.wav").unlink()
    done = run(box, "export", str(tmp_path / "stick"), capsys=capsys, status=1)
    problems = {result["record_id"]: result["problem"] for result in done}
    assert "audio.wav is not what was sealed" in problems[chunk(1).chunk_id]
    assert "correction.wav is missing" in problems[correction(1).correction_id]
    assert sorted(path.name for path in (tmp_path / "stick").iterdir()) == [chunk(2).chunk_id]


def test_an_outbox_that_never_was_is_empty_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outbox", "list", "--state", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["outbox", "retry", "x", "--state", str(tmp_path)]) == 1
    assert not (tmp_path / "outbox").exists()
