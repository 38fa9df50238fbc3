"""The list of a bundle's blocks: every block is named, and a list that does not fit its manifest is refused."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import blocks, bundle
from shared.bundle import BLOCKS_NAME
from shared.errors import BundleError
from tests.shared.bundle.bundles import make_bundle


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b.onnx", "d/e"]), st.binary(max_size=9000), min_size=1))
def test_every_block_of_every_file_is_listed_in_order(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "m1"
        manifest = make_bundle(folder, "m1", files, block_bytes=1024)
        listed = blocks.read(folder, manifest)
        if not any(files.values()):
            return
        assert listed is not None
        for path, data in files.items():
            entry = manifest.entry(path)
            assert entry is not None
            assert listed.count(path) == -(-len(data) // 1024)
            for index in range(listed.count(path)):
                start, stop = listed.span(entry, index)
                assert listed.digest(path, index) == hashlib.sha256(data[start:stop]).digest()


@given(st.binary(max_size=200))
def test_a_list_that_does_not_fit_is_refused(data: bytes) -> None:
    files = (bundle.FileEntry("a", 5000, "0" * 64), bundle.FileEntry(BLOCKS_NAME, len(data), "0" * 64))
    manifest = bundle.Manifest(1, "m1", 0.0, "", "", "demo", files, {}, {}, extra={"block_bytes": 1024})
    if len(data) == 5 * 32:
        assert blocks.parse(manifest, data).count("a") == 5
    else:
        with pytest.raises(BundleError, match=r"blocks\.bin"):
            blocks.parse(manifest, data)


@pytest.mark.parametrize("size", [0, 1, 1023, 2**21, "65536", True, 1024.0, None])
def test_a_block_size_that_is_none_is_refused(size: object) -> None:
    files = (bundle.FileEntry("a", 5000, "0" * 64), bundle.FileEntry(BLOCKS_NAME, 32, "0" * 64))
    manifest = bundle.Manifest(1, "m1", 0.0, "", "", "demo", files, {}, {}, extra={"block_bytes": size})
    with pytest.raises(BundleError):
        blocks.parse(manifest, bytes(32))
