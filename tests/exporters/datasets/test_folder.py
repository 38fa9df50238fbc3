"""An export appears whole or not at all, and never eats what it did not make."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from exporters.datasets import formats
from exporters.datasets.folder import MARKER, building
from shared.errors import Refused
from tests.exporters.datasets.rows import row


class Stopped(Exception):
    """Something goes wrong in the middle."""


def export(out: Path, text: str, *, force: bool = False) -> None:
    with building(out, force=force) as folder:
        folder.write_lines("metadata.jsonl", [{"instruction": text}])
        folder.write_json(MARKER, {})


def fail_half_way(out: Path, *, force: bool = False) -> None:
    with building(out, force=force) as folder:
        folder.write_json("half.json", 1)
        raise Stopped


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fail_half_way(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_never_touched(tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "cat.jpg").touch()
    for force in (False, True):
        with pytest.raises(Refused, match="holds other files"):
            export(out, "x", force=force)
    assert [path.name for path in out.iterdir()] == ["cat.jpg"]


def test_a_file_or_a_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(Refused, match="is not a folder"):
            export(tmp_path / name, "x")


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(tmp_path / "out", "x")
    assert (tmp_path / "out" / "metadata.jsonl").exists()


def test_an_earlier_export_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(out, "old")
    with pytest.raises(Refused, match="--force"):
        export(out, "new")
    assert "old" in (out / "metadata.jsonl").read_text(encoding="utf-8")
    export(out, "new", force=True)
    assert "new" in (out / "metadata.jsonl").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_earlier_export_stays_when_its_replacement_fails(tmp_path: Path) -> None:
    export(tmp_path / "out", "old")
    with pytest.raises(Stopped):
        fail_half_way(tmp_path / "out", force=True)
    assert "old" in (tmp_path / "out" / "metadata.jsonl").read_text(encoding="utf-8")


def test_two_exports_do_not_write_one_folder(tmp_path: Path) -> None:
    with building(tmp_path / "out"), pytest.raises(Refused, match="Another export"), building(tmp_path / "out"):
        pass


def test_links_point_at_the_originals(tmp_path: Path) -> None:
    made = row(tmp_path / "media")
    with building(tmp_path / "out", link=True) as folder:
        formats.write_jsonl([made], folder)
    linked = tmp_path / "out" / "frames" / "walk-1_chunk0000.jpg"
    assert linked.is_symlink()
    assert made.frame is not None
    assert linked.resolve() == made.frame.resolve()


def _die(out: Path) -> None:
    with building(out) as folder:
        folder.write_json("half.json", 1)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_half_way_leaves_no_export_and_the_next_one_works(tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = multiprocessing.get_context("spawn").Process(target=_die, args=(out,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert not out.exists()
    export(out, "x")
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "metadata.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
