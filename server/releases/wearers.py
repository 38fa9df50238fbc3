"""Which wearer has which adapter, and who may have its bytes.

    <home>/models/<champion>-w<hash>/bundle/   the champion's files (hard links) and wearer_adapter.onnx
    alias wearer/<name>                        the version that this wearer's devices run instead of the champion

Rules kept here:

1. A version of a wearer is granted to devices by name, in the champion's own place in the order of decisions: the
   version's name begins with the champion's and sorts after it, so it wins over that champion and over nothing else.
   A champion that is promoted later, or a rollout that is started later, takes its place without anybody undoing it.
2. No command makes it the champion or offers it to others (server.releases.registry, server.releases.rollouts).
3. Its manifest and its adapter are sent to its wearer's devices alone (server.releases.blocks).
4. Where a device of the wearer has anything erased after the moments were read, the adapter is withdrawn and deleted:
   which moment left what in it nobody can tell.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select

from server.database import store as tables
from server.releases.registry import LINEAGE, WEARER, RegisteredModel, Registry
from server.releases.rollout_rules import Grant
from shared import atomic, bundle, strict
from shared.errors import MessageError, Refused
from shared.runtime.adapter import ADAPTER

logger = logging.getLogger(__name__)
PREFIX = "wearer/"
"""Of the aliases."""
PRIVATE = (ADAPTER, bundle.BLOCKS_NAME)
"""Files of a bundle that its wearer's devices alone are sent, beside the manifest."""


@dataclass(frozen=True, slots=True)
class WearerVersion:
    """What the registry keeps of a version of one wearer."""

    name: str
    """The wearer, as their moments say."""
    devices: tuple[str, ...]
    """Those that the moments came from: no other device may run it."""
    of: str
    """The champion that it was fitted to."""
    rows: int
    """Moments that taught it."""
    began_utc: float
    """When the moments were read: what is erased later takes it away."""
    gain: float
    """Share of the wearer's held-out moments that are right with it, less that without."""
    low: float
    high: float
    """90 % interval of the gain, the walk being the unit."""
    cases: int
    walks: int


def of(model: RegisteredModel) -> WearerVersion | None:
    """Whose version it is; None for one that is for everybody. Raises: MessageError where that cannot be read."""
    value = model.evaluation.get(WEARER)
    return None if value is None else strict.read(WearerVersion, value)


def version_name(champion: str, adapter_sha256: str) -> str:
    """Of a wearer's version: it tells nothing of the wearer, for every device reads the names of all versions."""
    return f"{champion}-w{adapter_sha256[:8]}"


# --- who has which ---


def given(connection: Connection) -> dict[str, WearerVersion]:
    """Version → whose it is, of those in force."""
    aliases, models = tables.aliases, tables.models
    query = select(models.c.version, models.c.evaluation).join(aliases, aliases.c.version == models.c.version)
    rows = connection.execute(query.where(aliases.c.name.startswith(PREFIX, autoescape=True)))
    found = {row.version: _read(row.version, row.evaluation.get(WEARER)) for row in rows}
    return {version: whose for version, whose in found.items() if whose is not None}


def _read(version: str, value: Any) -> WearerVersion | None:
    """One that cannot be read is granted to nobody."""
    try:
        return strict.read(WearerVersion, value)
    except MessageError as error:
        logger.error("Whose version %s is cannot be read: %s", version, error)
        return None


def grants(connection: Connection, champion: str | None, *, order: int) -> Iterator[Grant]:
    """The versions of wearers that go with a champion. order: the champion's"""
    for version, whose in given(connection).items():
        if whose.of == champion:
            yield Grant(version, order, 0, whose.devices)


def add(registry: Registry, folder: Path, whose: WearerVersion, evaluation: Mapping[str, Any]) -> RegisteredModel:
    """Register the bundle in `folder` as a wearer's version and give it to them; the one that they had is deleted.

    evaluation: what was judged beside it
    raises: BundleError, Refused, OSError
    """
    manifest = bundle.verify(folder)
    final = registry.home / "models" / manifest.version
    if not final.exists():
        _place(registry, folder, final, manifest, {**evaluation, WEARER: asdict(whose)})
    registry.recover()  # inserts the row of a folder that has none
    before = registry.alias(PREFIX + whose.name)
    registry.point(PREFIX + whose.name, manifest.version, f"{whose.gain:+.3f} on {whose.cases} held-out moments")
    if before not in (None, manifest.version):
        _delete(registry, str(before))
    return registry.get(manifest.version)


def _place(
    registry: Registry, folder: Path, final: Path, manifest: bundle.Manifest, evaluation: Mapping[str, Any]
) -> None:
    adding = final.with_name(f".{final.name}.adding")
    atomic.remove_tree(adding)
    linked(folder, adding / "bundle")
    lineage = {
        "format": 1,
        "version": manifest.version,
        "parent": manifest.parent,
        "base": manifest.base,
        "dataset": "",
        "manifest_sha256": atomic.sha256_file(folder / bundle.MANIFEST_NAME),
        "created_at_utc": manifest.created_at_utc,
        "evaluation": dict(evaluation),
    }
    atomic.write_json(adding / LINEAGE, lineage)
    atomic.move(adding, final)


def linked(source: Path, target: Path, *, but: tuple[str, ...] = ()) -> None:
    """The files of a bundle under a second name: registered ones never change, so nothing is copied. Where the disk
    has no hard links they are. but: names that are left out. Raises: OSError."""
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if not path.is_file() or name in but:
            continue
        atomic.make_dirs((target / name).parent)
        try:
            os.link(path, target / name)
        except OSError:
            with open(path, "rb") as file, atomic.writing(target / name) as copy:
                shutil.copyfileobj(file, copy)
    for folder in [target, *(path for path in target.iterdir() if path.is_dir())]:
        atomic.fsync_dir(folder)


# --- taking it away ---


def withdraw(registry: Registry, name: str, why: str) -> str:
    """Take a wearer's adapter away and delete it; their devices are offered the champion. Returns the version.

    raises: Refused where they have none
    """
    version = registry.alias(PREFIX + name)
    if version is None:
        raise Refused(f"The wearer {name!r:.80} has no adapter.", hint="See: waycue-server adapters list")
    registry.point(PREFIX + name, None, why)
    _delete(registry, version)
    return version


def sweep(registry: Registry) -> tuple[str, ...]:
    """Withdraw what was fitted to moments of which something was erased since. Returns the wearers. Call it often."""
    with registry.store.reading() as connection:
        due = [whose.name for whose in given(connection).values() if _is_erased(connection, whose)]
    for name in due:
        try:
            withdraw(registry, name, "moments of this wearer were erased")
        except OSError as error:  # it is granted to nobody any more; `tidy` deletes it
            logger.error("The adapter of a wearer could not be deleted: %s", error)
    return tuple(due)


def _is_erased(connection: Connection, whose: WearerVersion) -> bool:
    wishes = tables.erasures
    since = wishes.c.received_at >= whose.began_utc
    return (
        connection.execute(select(wishes.c.device).where(wishes.c.device.in_(whose.devices), since)).first() is not None
    )


def tidy(registry: Registry) -> None:
    """Delete versions of wearers that nobody has: of a cut-off run, or of a champion before. Raises: OSError."""
    champion = registry.champion()
    for model in registry.list():
        whose = _read(model.version, model.evaluation[WEARER]) if WEARER in model.evaluation else None
        if whose is None:
            continue
        if registry.alias(PREFIX + whose.name) != model.version:
            _delete(registry, model.version)
        elif whose.of != champion:
            withdraw(registry, whose.name, f"{whose.of} is not the champion any more")


def _delete(registry: Registry, version: str) -> None:
    """The row first: a row always has its files. A folder that a power cut left is deleted by `tidy`."""
    with registry.store.writing() as connection:
        connection.execute(delete(tables.models).where(tables.models.c.version == version))
    atomic.remove_tree(registry.home / "models" / version)
