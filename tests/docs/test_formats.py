"""docs/formats.md says what the code writes and reads."""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from device.controls.buttons import SCRIPTED
from device.health import status
from device.health.walk_report import WalkReport
from device.outbox import folder as outbox_folder
from device.updates import slots, state, state_file
from server.commands import export
from server.database.store import open_store
from server.dataset import folder, sample_row
from server.eyes import by_name, packaged
from server.web import guard
from server.web.app import create_app
from shared import bundle, enrolment, messages, strict, topics, transfer
from shared.clock import ManualClock
from shared.preprocess import Preprocessing
from tests.docs.pages import named_in, page, section


def dataclasses_of(module: ModuleType) -> list[type[Any]]:
    found = (value for value in vars(module).values() if isinstance(value, type) and dataclasses.is_dataclass(value))
    return [one for one in found if one.__module__ == module.__name__]


WRITTEN = [
    *dataclasses_of(messages),
    *dataclasses_of(enrolment),
    *dataclasses_of(bundle),
    sample_row.SampleRow,
    packaged.EyesRecord,
    by_name.BackboneRecord,
    status.DeviceStatus,
]


def rows(kind: type[Any]) -> list[str]:
    """The first cells of the table under a class's heading."""
    return re.findall(r"^\| `(\w+)` \|", section("formats.md", kind.__name__), re.MULTILINE)


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.__name__)
def test_every_field_is_described_and_no_other(kind: type[Any]) -> None:
    names = [item.name for item in dataclasses.fields(kind) if item.name != "extra"]
    assert rows(kind) == names


@pytest.mark.parametrize("kind", dataclasses_of(messages), ids=lambda kind: kind.__name__)
def test_every_default_is_told(kind: type[Any]) -> None:
    lines = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section("formats.md", kind.__name__), re.MULTILINE))
    for item in dataclasses.fields(kind):
        if item.name != "extra":
            optional = item.default is not dataclasses.MISSING
            reported = "," in lines[item.name]
            assert reported == optional, f"{kind.__name__}.{item.name}"


@pytest.mark.parametrize("filter_", [topics.UP_ALL, topics.STATUS_ALL])
def test_what_the_server_subscribes_to_is_described(filter_: str) -> None:
    assert filter_ in named_in(section("formats.md", "Topics"))


def size(count: int) -> str:
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= factor and count % factor == 0:
            return f"{count // factor} {unit}"
    return f"{count:,}"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (messages, "MAX_MESSAGE_BYTES"),
        (strict, "MAX_TEXT"),
        (strict, "MAX_ITEMS"),
        (transfer, "PART_BYTES"),
        (transfer, "MAX_PART_BYTES"),
        (transfer, "PACKET_OVERHEAD_BYTES"),
        (transfer, "WINDOW_PARTS"),
        (transfer, "WINDOW_BYTES"),
        (transfer, "MAX_WINDOW_BYTES"),
        (guard, "MAX_BODY_BYTES"),
        (enrolment, "MAX_REQUEST_BYTES"),
        (enrolment, "MAX_ANSWER_BYTES"),
        (bundle, "MAX_FILES"),
        (bundle, "MAX_BUNDLE_BYTES"),
        (bundle, "MAX_MANIFEST_BYTES"),
    ],
)
def test_every_limit_is_told_with_its_value(module: ModuleType, name: str) -> None:
    value = getattr(module, name)
    reported = "|".join(re.escape(text) for text in (size(value), f"{value:,}"))
    assert re.search(rf"\b({reported})\b[^.(]*\([^)]*`{name}`", page("formats.md")), f"{size(value)} (`{name}`)"


@pytest.mark.parametrize("value", [*messages.FLAGS, *messages.PART_KINDS, *bundle.INTENDED_USES, *state.UpdatePhase])
def test_every_word_with_a_meaning_is_named(value: str) -> None:
    assert value in named_in(page("formats.md"))


def test_every_file_of_the_outbox_is_named() -> None:
    text = section("formats.md", "On the device")
    table = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", text, re.MULTILINE))
    assert table == outbox_folder.FILE_NAMES
    for name in (outbox_folder.SIDECAR, outbox_folder.FAILED, outbox_folder.REASON):
        assert f"{name}" in text


def test_every_file_of_the_model_folder_is_named() -> None:
    text = section("formats.md", "On the device")
    names = (*slots.SLOTS, slots.CURRENT, slots.PREVIOUS, slots.INCOMING, state_file.STATE_NAME, state_file.DENIED_NAME)
    assert [name for name in names if f"{slots.FOLDER}/{name}" not in text] == []


def test_what_the_runtime_reads_of_a_manifest_is_named() -> None:
    named = named_in(section("formats.md", "Manifest"))
    assert {item.name for item in dataclasses.fields(Preprocessing)} <= named
    assert {"before_ids", "after_ids", "end_id", "objects", "sides", "precision"} <= named


def test_every_route_of_the_api_is_told_and_no_other(tmp_path: Path) -> None:
    reported = re.findall(
        r"^\| `(GET|POST|DELETE) (\S+)` \|", section("formats.md", "The review page's API"), re.MULTILINE
    )
    with closing(open_store(tmp_path)) as store:
        data = folder.Dataset(tmp_path / "dataset")
        routes = create_app(store, data, clock=ManualClock()).openapi()["paths"]
    known = [(method.upper(), path) for path, methods in routes.items() for method in methods]
    assert sorted(reported) == sorted((m, p) for m, p in known if p.startswith(("/api/", "/media/", "/healthz")))


def test_every_export_format_is_told() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("formats.md", "Exports"), re.MULTILINE) == list(export.WRITERS)


def test_every_press_is_told() -> None:
    assert set(SCRIPTED) <= named_in(section("formats.md", "Files for scripts"))


def test_every_part_of_a_report_is_told(tmp_path: Path) -> None:
    WalkReport("walk", "device", "source").write(tmp_path / "report.json", {})
    report = json.loads((tmp_path / "report.json").read_bytes())
    named = named_in(section("formats.md", "Files for scripts"))
    assert sorted({*report, *report["time_to_speech_ms"]} - named) == []


def test_the_table_of_topics_is_the_one_that_the_code_follows() -> None:
    rows = re.findall(
        r"^\| `wc/v1/<device>/([^`]+)` \| (device|server) \| (.+) \|$", section("formats.md", "Topics"), re.MULTILINE
    )
    assert [(path, sender) for path, sender, _ in rows] == [(topic.path, topic.sender) for topic in topics.TABLE]
    for topic, (_, _, holds) in zip(topics.TABLE, rows, strict=True):
        if hasattr(messages, topic.payload):
            assert f"[{topic.payload}](#{topic.payload.lower()})" in holds
        assert ("retained" in holds) == topic.retained
