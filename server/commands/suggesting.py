"""What the current model would say of a chunk, as a suggestion to a person who labels it.

It teaches nothing by itself: a person takes it, or types something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from server.dataset import wording
from shared import vocabulary
from shared.errors import ConfigError, WaycueError

if TYPE_CHECKING:
    from shared.runtime.model import GuidanceModel

CHAMPION, NONE = "champion", "none"


@dataclass(slots=True)
class Suggester:
    """One model and its newest answer. Not for two threads at once."""

    note: str
    """Which model it is, or why there is none; for people."""
    model: GuidanceModel | None = None
    _known: dict[tuple[str, float], str] = field(default_factory=dict)

    def of(self, frame: Path, audio: Path) -> str:
        """A sentence that may be taught, "" = none: no model, or its words may not be said. Raises: OSError."""
        if self.model is None:
            return ""
        key = (str(frame), frame.stat().st_mtime)
        if key not in self._known:
            self._known = {key: _worded(self.model, frame, audio)}
        return self._known[key]


def _worded(model: GuidanceModel, frame: Path, audio: Path) -> str:
    from shared.jpeg import decode_picture
    from shared.wav import decode_sound

    picture = decode_picture(frame.read_bytes())
    if picture is None:
        return ""
    said = model.word(model.look(picture, decode_sound(audio.read_bytes()))).text
    return wording.canonical(said) or (vocabulary.CLEAR if vocabulary.normalise(said) == vocabulary.CLEAR else "")


def opened(home: Path, which: str) -> Suggester:
    """The model to ask: "champion" (the server's), "none", a version of the server's, or a bundle folder.

    raises: BundleError, ConfigError where a model was named that can not be loaded
    """
    if which == NONE:
        return Suggester("No model suggests a wording (--model none).")
    if (Path(which) / "manifest.json").is_file():
        return _loaded(Path(which), which)
    try:
        folder = _registered(home, which)
    except (ConfigError, OSError) as error:
        if which != CHAMPION:
            raise
        return Suggester(f"No model suggests a wording: there is no server in {home}. ({error})")
    if folder is None:
        return Suggester("No model suggests a wording: the server has none yet (waycue-server models add starter).")
    try:
        return _loaded(folder, folder.parent.name)
    except WaycueError as error:
        if which != CHAMPION:
            raise
        return Suggester(f"No model suggests a wording: {error}")


def _registered(home: Path, which: str) -> Path | None:
    from contextlib import closing

    from server.database import store as db
    from server.releases.registry import Registry

    with closing(db.open_store(home, create=False)) as store:
        registry = Registry(home, store=store)
        version = registry.champion() if which == CHAMPION else which
        return registry.bundle_folder(version) if version else None


def _loaded(folder: Path, name: str) -> Suggester:
    from shared.runtime.model import GuidanceModel

    model = GuidanceModel.load(folder, threads=1, allow_demo=True)
    return Suggester(f"Suggestions: {name}. It may be wrong; you decide.", model)
