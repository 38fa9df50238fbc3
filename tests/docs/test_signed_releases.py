"""docs/formats.md says what signed releases look like."""

from __future__ import annotations

import re

from server.releases import metadata_folder, signing, signing_keys
from shared import assignment, floor, signed_files
from shared.assignment import Assignment
from tests.docs.pages import named_in, section

TEXT = section("formats.md", "Signed releases")


def test_every_file_is_told_with_its_limit_and_its_life() -> None:
    rows = re.findall(r"^\| `(?:<n>\.)?(\w+)\.json` \| (\d+) (KiB|MiB) \| (\d+) days \|", TEXT, re.MULTILINE)
    units = {"KiB": 1024, "MiB": 1024**2}
    assert {role: int(size) * units[unit] for role, size, unit, _ in rows} == signed_files.LIMITS_BYTES
    assert {role: int(days) for role, *_, days in rows} == metadata_folder.LIFE_DAYS


def test_every_key_of_custom_is_told_and_no_other() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert keys == list(assignment.to_custom(Assignment("m1", 1, 0, frozenset(), supervised=True)))


def test_the_hashes_are_told_as_they_are_made() -> None:
    assert {"waycue-device|<version>|<device>", "waycue-rollout|<version>|<device>"} <= named_in(TEXT)
    assert f"first {assignment.HASH_CHARS} hexadecimal digits" in TEXT
    assert f"modulo {assignment.BUCKETS:,}" in TEXT
    assert f"at most {assignment.MAX_DEVICES:,} devices" in TEXT


def test_the_other_figures_and_files_are_told() -> None:
    assert f"at most {signed_files.MAX_FILES} files\n(`MAX_FILES`)" in TEXT
    assert f"the last {metadata_folder.KEPT} that were signed" in TEXT
    assert f"its first {signing_keys.ID_CHARS} digits" in TEXT
    for name in (
        signing_keys.NOTE,
        floor.FILE,
        f"{signing.FOLDER}/keys/",
        f"{signing.ROOT_KEY_FOLDER}/root.",
        "signed_at",
    ):
        assert name in TEXT
