"""Kill the registration of a model at every durable step in turn, and add it again. Run as a program.

One JSON line per try: where it was killed, and what is wrong: before the second attempt no row may lack its files,
after it the model must be there, whole.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sqlalchemy.dialects.sqlite  # noqa: F401  once, and not in each of the forks

from server.database.store import open_store
from server.releases.registry import Registry
from shared import bundle
from tests import crash
from tests.crash import Killer
from tests.shared.bundle.bundles import contents, make_bundle

FILES = {"decoder_model_merged.onnx": 300_000, "golden/000.jpg": 7_000}


def add(home: Path, source: Path, killer: Killer) -> None:
    registry = Registry(home)
    killer.watch()
    killer.watch_half_writes()
    registry.add(source, adapter=source.parent / "adapter")
    registry.promote("m1", "first")
    registry.close()


def verdict(home: Path, source: Path) -> list[str]:
    """Fails with an assertion."""
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
    return []


def main(place: Path) -> None:
    source, template = place / "made" / "m1", place / "template"
    make_bundle(source, "m1", contents(FILES))
    (place / "made" / "adapter").mkdir()
    (place / "made" / "adapter" / "weights").write_bytes(bytes(5000))
    assert crash.fork(lambda: open_store(template).close()).status == 0
    for one in crash.tries(
        place,
        template,
        lambda home, killer: add(home, source, killer),
        lambda home: verdict(home, source),
        packages=("server",),
    ):
        print(json.dumps({"step": one.step, "at": one.label, "problems": one.problems}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
