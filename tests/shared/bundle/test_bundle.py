"""A bundle is whole and unaltered, or it is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import bundle
from shared.errors import BundleError
from tests.shared.bundle.bundles import contents, flip_byte, make_bundle

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "m1", "m1")
    return tmp_path / "m1"


def rewrite(folder: Path, change: Change) -> None:
    value = json.loads((folder / "manifest.json").read_text())
    change(value)
    (folder / "manifest.json").write_text(json.dumps(value))


def test_a_written_bundle_is_read_back_and_verified(folder: Path) -> None:
    manifest = bundle.verify(folder)
    assert manifest == bundle.read_manifest(folder)
    assert manifest.version == "m1"
    assert {entry.path for entry in manifest.files} == {*contents(), "blocks.bin"}
    blocks = 5 + 4 + 1 + 1 + 1 + 0  # of 64 KiB, in SMALL
    assert manifest.size_bytes == sum(map(len, contents().values())) + 32 * blocks
    entry = manifest.entry("tokenizer.json")
    assert entry is not None
    assert entry.sha256 == hashlib.sha256(contents()["tokenizer.json"]).hexdigest()


def test_the_manifest_is_canonical_so_its_hash_is_stable(folder: Path, tmp_path: Path) -> None:
    data = bundle.read_manifest_bytes(folder)
    assert bundle.manifest_bytes(bundle.parse_manifest(data)) == data
    make_bundle(tmp_path / "again", "m1", dict(reversed(contents().items())), created_at_utc=1_700_000_000)
    assert bundle.read_manifest_bytes(tmp_path / "again") == data


def test_unknown_fields_are_kept(folder: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["opset"] = {"main": 21}
        value["files"][0]["blocks"] = ["ab"]

    rewrite(folder, change)
    manifest = bundle.verify(folder)
    assert manifest.extra == {"opset": {"main": 21}, "block_bytes": 65536}
    assert json.loads(bundle.manifest_bytes(manifest))["files"][0]["blocks"] == ["ab"]


@pytest.mark.parametrize("path", [path for path, data in contents().items() if data])
def test_one_changed_byte_is_refused_and_the_file_is_named(folder: Path, path: str) -> None:
    flip_byte(folder / path, at=17)
    with pytest.raises(BundleError, match=f"{path} was altered") as caught:
        bundle.verify(folder)
    assert "again" in str(caught.value)


def test_a_short_file_a_missing_file_and_an_extra_file_are_each_named(folder: Path) -> None:
    (folder / "extra.onnx").write_bytes(b"1")
    with pytest.raises(BundleError, match=r"extra\.onnx is not in its manifest"):
        bundle.verify(folder)
    (folder / "extra.onnx").unlink()
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json has 2 bytes, its manifest says 4000"):
        bundle.verify(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
        bundle.verify(folder)


def test_a_link_is_refused_even_where_its_content_is_right(folder: Path, tmp_path: Path) -> None:
    entry = bundle.read_manifest(folder).entry("tokenizer.json")
    assert entry is not None
    outside = tmp_path / "outside.json"
    (folder / "tokenizer.json").rename(outside)
    (folder / "tokenizer.json").symlink_to(outside)
    with pytest.raises(BundleError, match=r"tokenizer\.json' may not be in a bundle"):
        bundle.verify(folder)
    with pytest.raises(BundleError, match="is not a plain file"):
        bundle.check_file(folder, entry)
    with pytest.raises(BundleError, match="may not be in a bundle"):
        make_bundle(folder, "m2", {})


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting_on_it(folder: Path) -> None:
    (folder / "golden" / "000.jpg").unlink()
    os.mkfifo(folder / "golden" / "000.jpg")
    with pytest.raises(BundleError, match="may not be in a bundle"):
        bundle.verify(folder)


def test_a_linked_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").rename(tmp_path / "elsewhere.json")
    (folder / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="not a file of readable size"):
        bundle.read_manifest(folder)


def test_a_newer_format_says_to_update_the_agent(folder: Path) -> None:
    rewrite(folder, lambda value: value.update(format=2, files="something new"))
    with pytest.raises(BundleError, match=r"format 2.*Update the agent"):
        bundle.read_manifest(folder)


@pytest.mark.parametrize(
    "path",
    ["../a.onnx", "/etc/passwd", "a/b/c.onnx", ".hidden", "golden/.x", "a//b", "a/", "", "..", "a.onnx.part",
     "manifest.json", "a\\b", "a b", "x" * 97, "a\n"],
)  # fmt: skip
def test_a_path_that_leaves_the_folder_or_is_not_plain_is_refused(folder: Path, path: str) -> None:
    rewrite(folder, lambda value: value["files"][0].update(path=path))
    with pytest.raises(BundleError, match="not a path that a bundle may hold"):
        bundle.read_manifest(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.update(files=[]), "0 files"),
        (lambda v: v["files"].append(v["files"][0]), "two files share one path"),
        (lambda v: v["files"][0].update(path="Tokenizer.json"), "two files share one path"),
        (lambda v: v["files"][0].update(path="golden"), "two files share one path"),
        (lambda v: v["files"][0].update(size_bytes=9 * 1024**3), "are accepted"),
        (lambda v: v["files"][0].update(size_bytes=-1), "size_bytes"),
        (lambda v: v["files"][0].update(sha256="AB" * 32), "SHA-256"),
        (lambda v: v.update(version="../m1"), "version"),
        (lambda v: v.update(intended_use="anything"), "intended_use"),
        (lambda v: v.update(thresholds={"speak_above": "high"}), "speak_above"),
        (lambda v: v.update(thresholds={"speak_above": True}), "speak_above"),
        (lambda v: v.update(format="1"), "format"),
        (lambda v: v.update(format=True), "format"),
        (lambda v: v.update(format=0), "format"),
        (lambda v: v.pop("base"), "base"),
        (lambda v: v.update(model={"a": json.loads("[" * 40 + "]" * 40)}), "nested"),
    ],
)
def test_a_manifest_that_breaks_its_rules_is_refused_with_the_reason(folder: Path, change: Change, says: str) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=says):
        bundle.read_manifest(folder)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff\xfe", b'{"format": 1}', b'{"format": 1, "format": 1}', b'{"format": NaN}', b"[" * 5000,
     b" " * (bundle.MAX_MANIFEST_BYTES + 1)],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        bundle.parse_manifest(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_manifest_or_a_bundle_error(data: bytes) -> None:
    try:
        bundle.parse_manifest(data)
    except BundleError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "format",
    "version",
    "created_at_utc",
    "base",
    "parent",
    "intended_use",
    "files",
    "thresholds",
    "model",
    "evaluation",
)


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_is_read_or_refused(name: str, value: Any) -> None:
    good = {
        "format": 1,
        "version": "m1",
        "created_at_utc": 0,
        "base": "",
        "parent": "",
        "intended_use": "field",
        "files": [{"path": "a", "size_bytes": 1, "sha256": "0" * 64}],
        "thresholds": {},
        "model": {},
        "evaluation": {},
    }
    data = json.dumps(good | {name: value}).encode()
    try:
        manifest = bundle.parse_manifest(data)
    except BundleError:
        return
    assert bundle.parse_manifest(bundle.manifest_bytes(manifest)) == manifest


def test_what_a_device_could_not_read_is_not_written(tmp_path: Path) -> None:
    for more in (
        {"evaluation": {"loss": float("nan")}},
        {"thresholds": {"speak_above": float("inf")}},
        {"model": {"ids": {1, 2}}},
        {"intended_use": "toy"},
    ):
        with pytest.raises(BundleError):
            make_bundle(tmp_path / "m1", "m1", **more)
        assert not (tmp_path / "m1" / "manifest.json").exists()


@pytest.mark.parametrize("path", [".hidden", "a/b/c.onnx", "half.onnx.part", "with space.onnx"])
def test_a_folder_with_a_file_that_no_bundle_may_hold_is_not_made_a_bundle(tmp_path: Path, path: str) -> None:
    with pytest.raises(BundleError, match="may not be in a bundle"):
        make_bundle(tmp_path / "m1", "m1", {path: b"x", "ok.onnx": b"y"})


def test_an_empty_folder_and_a_missing_folder_are_no_bundles(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="0 files"):
        make_bundle(tmp_path / "empty", "m1", {})
    with pytest.raises(BundleError, match=r"manifest\.json cannot be opened"):
        bundle.verify(tmp_path / "nowhere")
