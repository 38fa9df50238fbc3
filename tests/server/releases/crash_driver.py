"""Kill the registration of a model at every durable step in turn, and add it again. Run as a program.

One JSON line per try: where it was killed, and what is wrong: before the second attempt no row may lack its files,
after it the model must be there, whole.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from server.database.store import open_store
from server.releases.registry import Registry
from shared import bundle
from tests.device.updates.crash_driver import Killer, child, chosen
from tests.shared.bundle.bundles import contents, make_bundle

FILES = {"decoder_model_merged.onnx": 300_000, "golden/000.jpg": 7_000}


def add(home: Path, source: Path, killer: Killer, labels: Path | None = None) -> None:
    registry = Registry(home)
    killer.install()
    registry.add(source, adapter=source.parent / "adapter")
    registry.promote("m1", "first")
    if labels is not None:
        labels.write_text(json.dumps(killer.labels))
    registry.close()


def check(home: Path, source: Path) -> None:
    """Runs in a fork: fails with an assertion."""
    registry = Registry(home)
    for model in registry.list():
        assert bundle.verify(model.bundle_folder).version == "m1"
    model = registry.add(source, adapter=source.parent / "adapter")
    assert bundle.verify(model.bundle_folder).version == "m1"
    assert (model.folder / "adapter").is_dir()
    assert (model.folder / "adapter" / "weights").stat().st_size == 5000
    registry.promote("m1", "first")
    assert registry.champion() == "m1"
    assert len(registry.list()) == 1
    registry.close()


def main(place: Path) -> None:
    source = place / "made" / "m1"
    make_bundle(source, "m1", contents(FILES))
    (place / "made" / "adapter").mkdir()
    (place / "made" / "adapter" / "weights").write_bytes(bytes(5000))
    assert child(lambda: open_store(place / "template").close()) == 0
    labels_file, home = place / "labels.json", place / "home"
    shutil.copytree(place / "template", home)
    assert child(lambda: add(home, source, Killer(-1, place / "note", package="server"), labels_file)) == 0
    labels = json.loads(labels_file.read_text())
    for index in chosen(labels, every=True):
        shutil.rmtree(home)
        shutil.copytree(place / "template", home)
        killer = Killer(index, place / "note", package="server")
        status = child(lambda killer=killer: add(home, source, killer))  # type: ignore[misc]
        problems = [] if os.WIFSIGNALED(status) else [f"it was not killed: {status}"]
        if child(lambda: check(home, source)) != 0:
            problems.append("it was not added whole by the second try")
        print(json.dumps({"step": index, "at": labels[index], "problems": problems}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
