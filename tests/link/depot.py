"""A small Merge that is real: whole files in a folder and a log, idempotent, nothing of the dataset's meaning.

It keeps the contract of server.dataset.merge.Merge, and tests/link/test_merge_contract.py holds both to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from server.dataset.came import Came, Merged, RecordCame
from shared import atomic, messages
from shared.messages import EraseRecord, Part, Record


class Depot:
    """Everything merged so far. on_part is called before each new part, and may raise."""

    def __init__(self, folder: Path, *, on_part: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.on_part = on_part
        self.quarantined: list[str] = []
        atomic.make_dirs(folder)
        self._log = folder / "log.jsonl"
        atomic.drop_torn_tail(self._log)
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self.entries: dict[str, str] = {entry["key"]: entry["value"] for entry in map(json.loads, lines)}

    def put(self, entries: Sequence[Came]) -> list[Merged]:
        return [
            self.put_record(one.device, one.kind, one.record)
            if isinstance(one, RecordCame)
            else self._put_file(one.device, one.record_id, one.part, one.path)
            for one in entries
        ]

    def _put_file(self, device: str, record_id: str, part: Part, path: Path) -> Merged:
        try:
            return self.put_part(device, record_id, part, path)
        except FileNotFoundError:
            return Merged("gone")

    def put_record(self, device: str, kind: str, record: Record) -> Merged:
        assert not isinstance(record, EraseRecord), "nothing is erased here"
        own_id = messages.id_of(record)
        if record.device != device:
            return Merged("refused", f"the record names {record.device}, the topic {device}")
        return self._put(f"{device}/{own_id}", json.dumps(messages.to_dict(record), sort_keys=True))

    def put_part(self, device: str, record_id: str, part: Part, path: Path) -> Merged:
        key = f"{device}/{record_id}.{part.kind}"
        if self.on_part is not None and key not in self.entries:
            self.on_part(key)
        target = self.folder / f"{device}.{record_id}.{part.name}"
        if self.entries.get(key, part.sha256) == part.sha256 and (path.exists() or not target.exists()):
            atomic.move(path, target)
        return self._put(key, part.sha256)

    def find_parts(self, parts: Sequence[tuple[str, str, Part]]) -> list[bool]:
        return [self.entries.get(f"{device}/{own}.{part.kind}") == part.sha256 for device, own, part in parts]

    def _put(self, key: str, value: str) -> Merged:
        if key in self.entries:
            if self.entries[key] == value:
                return Merged("merged", new=False)
            self.quarantined.append(key)
            return Merged("refused", "this id was already used with other content")
        with open(self._log, "ab") as log:
            atomic.append_line(log, {"key": key, "value": value})
        self.entries[key] = value
        return Merged("merged")
