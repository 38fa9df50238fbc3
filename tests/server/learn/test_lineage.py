"""What taught a version stays on the server, whatever the dataset holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.dataset.sample_row import SampleRow
from server.learn import lineage
from server.releases.registry import TAUGHT_BY, Registry
from shared import bundle
from shared.clock import ManualClock
from tests.server.learn.test_rows import ROW
from tests.shared.bundle.bundles import contents, make_bundle

MANY = 100_000


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "home", clock=ManualClock())
    yield registry
    registry.close()


def many(count: int) -> list[SampleRow]:
    return [
        replace(ROW, row_id=f"pi-7-b00t-{n:06d}#2", frame_path=f"frames/{n:064x}.jpg", walk_id=f"w{n // 500}")
        for n in range(count)
    ]


def test_a_hundred_thousand_rows_are_registered_and_the_manifest_stays_small(
    registry: Registry, tmp_path: Path
) -> None:
    rows = many(MANY)
    began = time.monotonic()
    made = make_bundle(tmp_path / "made", "n2", contents(), extra={"lineage": lineage.manifest_entry(rows)})
    registry.add(tmp_path / "made", taught=lineage.taught(rows, dataset=(7, "ab"), seconds=1.0))
    seen, unread = lineage.seen(registry)
    assert seen == set(lineage.identities(rows))
    assert not unread
    assert time.monotonic() - began < 30
    manifest = registry.bundle_folder("n2") / bundle.MANIFEST_NAME
    assert manifest.stat().st_size < 20_000 < bundle.MAX_MANIFEST_BYTES
    assert b"pi-7" not in manifest.read_bytes()
    assert made.extra["lineage"] == {"root": lineage.root(seen), "rows": MANY, "walks": MANY // 500}
    assert (registry.lineage("n2")["rows"], registry.lineage("n2")["dataset"]) == (MANY, "7:ab")
    assert len((tmp_path / "home" / "models" / "n2" / "lineage.json").read_bytes()) < 10_000


def test_the_root_tells_lists_apart_and_not_their_order() -> None:
    rows = lineage.identities(many(50))
    assert lineage.root(rows) == lineage.root(reversed(rows))
    assert lineage.root(rows) != lineage.root(rows[1:])
    assert lineage.root(rows) != lineage.root([*rows[1:], rows[0] + "0"])
    assert lineage.root([]) == lineage.manifest_entry([])["root"]


def test_a_version_from_before_tells_its_rows_by_its_manifest(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", "n1", contents(), extra={"taught_by": ["pi-1-b00t-000001#2:ab"]})
    registry.add(tmp_path / "made")
    assert lineage.seen(registry) == ({"pi-1-b00t-000001#2:ab"}, [])


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 1, "extra": ' + b" " * bundle.MAX_MANIFEST_BYTES])
def test_a_manifest_that_cannot_be_read_costs_its_own_rows_only(
    registry: Registry, tmp_path: Path, damage: bytes
) -> None:
    make_bundle(tmp_path / "old", "n1", contents(), extra={"taught_by": ["a#1:ff"]})
    registry.add(tmp_path / "old")
    make_bundle(tmp_path / "new", "n2", contents(seed=2))
    registry.add(tmp_path / "new", taught=lineage.taught(many(3), dataset=(1, "x"), seconds=0.0))
    (registry.bundle_folder("n1") / bundle.MANIFEST_NAME).write_bytes(damage)
    seen, unread = lineage.seen(registry)
    assert seen == set(lineage.identities(many(3)))
    assert unread == ["n1"]


def test_a_version_that_lost_its_row_in_the_database_is_adopted(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home", clock=ManualClock())
    make_bundle(tmp_path / "made", "n1", contents())
    registry.add(tmp_path / "made", taught=lineage.taught(many(2), dataset=(1, "x"), seconds=0.0))
    registry.close()
    for file in (tmp_path / "home").glob("waycue.sqlite*"):
        file.unlink()
    again = Registry(tmp_path / "home", clock=ManualClock())
    assert again.list() == ()
    (tmp_path / "home" / "models" / ".n2.adding").mkdir()
    assert again.recover() == ("n1",)
    assert again.recover() == ()
    assert set(again.taught_by("n1")) == set(lineage.identities(many(2)))
    again.close()


def test_the_list_is_part_of_adding(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", "n1", contents())
    model = registry.add(tmp_path / "made", taught=lineage.taught(many(2), dataset=(1, "x"), seconds=2.5))
    assert (model.folder / TAUGHT_BY).read_text().splitlines() == list(lineage.identities(many(2)))
    saved = json.loads((model.folder / "lineage.json").read_text())
    assert (saved["seconds"], saved["walks"]) == (2.5, 1)
    assert saved["code"].startswith("waycue ")
    assert not (model.bundle_folder / TAUGHT_BY).exists()
