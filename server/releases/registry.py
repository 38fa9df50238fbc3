"""Which models there are, where each came from, and which one is in use.

    <home>/models/<version>/bundle/        the bundle, as devices get it
    <home>/models/<version>/adapter/       the LoRA adapter it was merged from, where there is one
    <home>/models/<version>/lineage.json   parent, base, dataset version, evaluation: what the table row says, on disk;
                                           and, of a night, seconds, code versions and how many rows taught
    <home>/models/<version>/taught_by.txt  the identities of those rows, one a line; never part of the bundle

Rules kept here:

1. A version, once registered, never changes: the same name with other bytes is refused.
2. Files first, row second: a row always has its files. Adding again after an interruption completes the first attempt.
3. Roles are aliases: champion (offered to devices) and previous (where a rollback leads). They change in one
   transaction with a line in `alias_log`, which is never edited.
4. Only a bundle whose every hash is right is given a role.
5. A version on trial (its manifest says so) is never offered as champion, and no command makes it one. One for the
   field becomes champion only with the gate's own verdict that this server recorded: a bundle's word counts nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from server.database import store as tables
from server.database.store import Store, open_store
from shared import atomic, bundle, file_lock
from shared.clock import Clock, SystemClock
from shared.errors import BundleError, Refused

CHAMPION, PREVIOUS = "champion", "previous"
WEARER = "wearer"
"""In the evaluation of a version that is one wearer's alone (server.releases.wearers)."""
REGISTERED, ON_TRIAL, RETIRED = "registered", "trial", "retired"
PROMOTED = "promoted"
"""The gate's verdict on a model that may guide on its own."""
LINEAGE, TAUGHT_BY = "lineage.json", "taught_by.txt"
_SEE_LIST = "See: waycue-server models list"


class Overtaken(Refused):
    """The champion is another one than the version was judged against."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """One registered version."""

    version: str
    created_at_utc: float
    parent: str
    base: str
    folder: Path
    """<home>/models/<version>"""
    manifest_sha256: str
    manifest_size: int
    evaluation: Mapping[str, Any]
    state: str
    """REGISTERED or ON_TRIAL, as its manifest says: one on trial may guide nobody but supervised wearers. RETIRED: a
    person has had deleted what it learnt from, and it gets no role any more."""

    @property
    def bundle_folder(self) -> Path:
        return self.folder / "bundle"


@dataclass(frozen=True, slots=True)
class Taught:
    """What a night's version was trained on. Stays on the server."""

    rows: tuple[str, ...]
    """Identities of the rows that taught (server.learn.lineage)."""
    walks: int
    """How many walks they come from."""
    dataset: str
    """Version of the dataset: bytes:sha256."""
    code: str
    """Versions of what trained and exported it."""
    seconds: float
    """What the night took until it was registered."""


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One line of the audit log."""

    at_utc: float
    name: str
    old: str
    new: str
    why: str


class Registry:
    """The models of one server. Any thread, any process. Raises: ConfigError where the database cannot be opened."""

    def __init__(self, home: Path, *, store: Store | None = None, clock: Clock | None = None) -> None:
        self.home = home
        self.store = store or open_store(home)
        self._owns_store = store is None
        self._clock = clock or SystemClock()
        self._models = home / "models"

    def close(self) -> None:
        """Close the database, where this registry opened it itself."""
        if self._owns_store:
            self.store.close()

    def add(
        self,
        folder: Path,
        *,
        parent: str = "",
        adapter: Path | None = None,
        evaluation: Mapping[str, Any] | None = None,
        taught: Taught | None = None,
    ) -> RegisteredModel:
        """Copy a bundle (and its adapter folder) into the registry, durably. It gets no role by that.

        parent: version it was trained from
        taught: of a night, what it was trained on; its list of rows is written beside the bundle
        raises: BundleError for a bundle that is not whole, or whose version exists with other bytes; OSError.
        """
        manifest = bundle.verify(folder)
        digest = hashlib.sha256(bundle.read_manifest_bytes(folder)).hexdigest()
        with self._adding():
            known = self._find(manifest.version) or self._adopt(manifest.version)
            if known is not None:
                if known.manifest_sha256 == digest:
                    return known
                raise BundleError(
                    f"Model {manifest.version} is already registered with other content.",
                    hint="Export the new one under another version name.",
                )
            lineage = {
                "format": 1,
                "version": manifest.version,
                "parent": parent or manifest.parent,
                "base": manifest.base,
                "dataset": "",
                "manifest_sha256": digest,
                "created_at_utc": self._clock.utc_s(),
                "evaluation": dict(_claimed(manifest) if evaluation is None else evaluation),
                **(_night(taught) if taught else {}),
            }
            self._place(folder, adapter, lineage, taught.rows if taught else None)
            self._insert(lineage)
        return self.get(manifest.version)

    def _place(
        self, folder: Path, adapter: Path | None, lineage: Mapping[str, Any], rows: Iterable[str] | None
    ) -> None:
        """Copy into a folder of another name, then rename: models/<version> is whole or absent."""
        final = self._models / str(lineage["version"])
        adding = final.with_name(f".{final.name}.adding")
        atomic.remove_tree(adding)
        _copy_tree(folder, adding / "bundle")
        if adapter is not None:
            _copy_tree(adapter, adding / "adapter")
        bundle.verify(adding / "bundle")
        if rows is not None:
            with atomic.writing(adding / TAUGHT_BY) as file:
                file.writelines(f"{row}\n".encode() for row in rows)
        atomic.write_json(adding / LINEAGE, lineage)
        atomic.move(adding, final)

    def _adopt(self, version: str) -> RegisteredModel | None:
        """Insert the row of a folder that has none: after a power cut, or into an older copy of the database."""
        lineage = self._models / version / LINEAGE
        if not lineage.is_file():
            return None
        self._insert(json.loads(lineage.read_bytes()))
        return self._find(version)

    def recover(self) -> tuple[str, ...]:
        """Insert the row of every whole folder that has none, after a power cut. Returns the versions.

        Files of a version that was never completed are left to the next `add`. Raises: OSError.
        """
        if not self._models.is_dir():
            return ()
        with self._adding():
            versions = sorted(file.parent.name for file in self._models.glob(f"[!.]*/{LINEAGE}"))
            return tuple(version for version in versions if not self._find(version) and self._adopt(version))

    def _insert(self, lineage: Mapping[str, Any]) -> None:
        folder = self._models / str(lineage["version"])
        use = bundle.read_manifest(folder / "bundle").intended_use
        kept = ("version", "parent", "base", "manifest_sha256", "evaluation")
        row = {name: lineage[name] for name in kept} | {
            "created_at": lineage["created_at_utc"],
            "folder": str(folder.relative_to(self.home)),
            "manifest_size": (folder / "bundle" / bundle.MANIFEST_NAME).stat().st_size,
            "state": ON_TRIAL if use == bundle.TRIAL else REGISTERED,
        }
        with self.store.writing() as connection:
            connection.execute(insert(tables.models).values(row))

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """One at a time, over all processes: a nightly retrain and a command may both add."""
        atomic.make_dirs(self._models)
        with file_lock.locked(self._models / ".lock"):
            yield

    # --- reading ---

    def get(self, version: str) -> RegisteredModel:
        """Raises: Refused where there is no such version."""
        model = self._find(version)
        if model is None:
            raise Refused(f"There is no model {version}.", hint=_SEE_LIST)
        return model

    def list(self) -> tuple[RegisteredModel, ...]:
        """All models, oldest first."""
        with self.store.reading() as connection:
            rows = connection.execute(select(tables.models).order_by(tables.models.c.created_at)).all()
        return tuple(self._model(row) for row in rows)

    def bundle_folder(self, version: str) -> Path:
        """Raises: Refused where there is no such version."""
        return self.get(version).bundle_folder

    def lineage(self, version: str) -> dict[str, Any]:
        """Parent, base, dataset version and evaluation, as registered. Raises: Refused, OSError."""
        value: dict[str, Any] = json.loads((self.get(version).folder / LINEAGE).read_bytes())
        return value

    def taught_by(self, version: str) -> Iterator[str]:
        """Identities of the rows that taught a version; none for one that no night of this server made.

        Versions from before `taught_by.txt` carry the list in their manifest. Raises: Refused, BundleError, OSError.
        """
        model = self.get(version)
        try:
            with open(model.folder / TAUGHT_BY, encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)
        except FileNotFoundError:
            listed = bundle.read_manifest(model.bundle_folder).extra.get("taught_by", ())
            yield from (str(row) for row in listed if isinstance(listed, list))

    def alias(self, name: str) -> str | None:
        """The version behind a name, None where it has none."""
        with self.store.reading() as connection:
            return _alias(connection, name)

    def champion(self) -> str | None:
        """The version that devices are offered."""
        return self.alias(CHAMPION)

    def champion_bundle(self) -> Path | None:
        """Folder of the version that devices are offered."""
        version = self.champion()
        return None if version is None else self.bundle_folder(version)

    def log(self) -> tuple[AliasChange, ...]:
        """Every change of an alias, oldest first."""
        log = tables.alias_log
        with self.store.reading() as connection:
            rows = connection.execute(select(log.c.at, log.c.name, log.c.old, log.c.new, log.c.why).order_by(log.c.id))
            return tuple(AliasChange(*row) for row in rows)

    def _find(self, version: str) -> RegisteredModel | None:
        with self.store.reading() as connection:
            row = connection.execute(select(tables.models).where(tables.models.c.version == version)).first()
        return None if row is None else self._model(row)

    def _model(self, row: Row[Any]) -> RegisteredModel:
        values = dict(row._mapping)
        created_at_utc, folder = values.pop("created_at"), self.home / values.pop("folder")
        return RegisteredModel(created_at_utc=created_at_utc, folder=folder, **values)

    # --- roles ---

    def promote(self, version: str, why: str, *, instead_of: str | None = None) -> None:
        """Make a version the champion; the old champion becomes `previous`.

        instead_of: only where this one still is the champion, "" for none: it was judged against that
        raises: Refused where there is no such version, it is on trial, or it is for the field and no gate of this
        server passed it; Overtaken; BundleError where its files are damaged.
        """
        self._check_may_lead(version)
        with self.store.writing() as connection:
            old = _alias(connection, CHAMPION)
            if old == version:
                return
            if instead_of is not None and (old or "") != instead_of:
                raise Overtaken(
                    f"{version} was accepted against {instead_of or 'no champion'}, but {old or 'none'} is in use now: "
                    "it is not promoted.",
                    hint=f"By hand: waycue-server models promote {version}",
                )
            self._point(connection, PREVIOUS, old, why)
            self._point(connection, CHAMPION, version, why)

    def rollback(self, why: str) -> str:
        """Exchange champion and previous. Returns the new champion.

        raises: Refused where there is no previous one; as `promote`.
        """
        back = self.alias(PREVIOUS)
        if back is None:
            raise Refused("There is no previous model to roll back to.", hint=_SEE_LIST)
        self._check_may_lead(back)
        with self.store.writing() as connection:
            if _alias(connection, PREVIOUS) != back:
                raise Refused("The models were changed by someone else just now.", hint="Look again, then repeat.")
            self._point(connection, PREVIOUS, _alias(connection, CHAMPION), why)
            self._point(connection, CHAMPION, back, why)
        return back

    def retire(self, version: str, why: str) -> None:
        """Take every role from a version, for good. Raises: Refused where it is the champion, or is not there."""
        model = self.get(version)
        with self.store.writing() as connection:
            if _alias(connection, CHAMPION) == version:
                raise Refused(f"{version} is in use.", hint="Promote another one first: waycue-server models promote")
            names = connection.execute(select(tables.aliases.c.name).where(tables.aliases.c.version == version))
            for name in names.scalars().all():
                self._point(connection, name, None, why)
            connection.execute(
                update(tables.models).where(tables.models.c.version == model.version).values(state=RETIRED)
            )

    def check_in_service(self, version: str) -> None:
        """Raises: Refused where it is retired."""
        if self.get(version).state == RETIRED:
            raise Refused(f"{version} is retired: what it learnt from was deleted.", hint=_SEE_LIST)

    def _check_may_lead(self, version: str) -> None:
        """Raises: Refused where not every device may be offered it; BundleError."""
        self.check_in_service(version)
        if bundle.verify(self.bundle_folder(version)).intended_use == bundle.TRIAL:
            raise Refused(
                f"{version} is on trial: it has not shown on held-out walks that it may guide on its own, so it cannot "
                "be the champion.",
                hint=f"Why: waycue-server gate --explain {version}. A wearer with a sighted companion may try it: "
                f'waycue-server rollout start {version} --device NAME --supervised --companion "WHO".',
            )
        self.check_judged(version)

    def check_judged(self, version: str) -> None:
        """Raises: Refused where it is one wearer's, or for the field and no gate here promoted it; BundleError."""
        model = self.get(version)
        if WEARER in model.evaluation:
            raise Refused(
                f"{version} is fitted to one wearer: it is offered to nobody else.",
                hint="See: waycue-server adapters list",
            )
        if not unjudged(model):
            return
        if verdict_of(model):
            raise Refused(
                f"{version} was not passed by the gate, which said {verdict_of(model)}: it guides nobody on its own.",
                hint=f"Why: waycue-server gate --explain {version}.",
            )
        raise Refused(
            f"{version} is made for the field, but no gate of this server has judged it: it guides nobody on its own.",
            hint="Let a night make one that is judged: waycue-server retrain. Until then a wearer with a sighted "
            "companion may try a version on trial: waycue-server rollout start VERSION --device NAME --supervised "
            '--companion "WHO".',
        )

    def point(self, name: str, version: str | None, why: str) -> None:
        """Give another name than champion and previous a version, None = take it away. No rule is asked."""
        with self.store.writing() as connection:
            self._point(connection, name, version, why)

    def _point(self, connection: Connection, name: str, version: str | None, why: str) -> None:
        old = _alias(connection, name)
        if old == version:
            return
        aliases = tables.aliases
        connection.execute(aliases.delete().where(aliases.c.name == name))
        if version is not None:
            connection.execute(insert(aliases).values(name=name, version=version))
        change = {"at": self._clock.utc_s(), "name": name, "old": old or "", "new": version or "", "why": why}
        connection.execute(insert(tables.alias_log).values(change))


def verdict_of(model: RegisteredModel) -> str | None:
    """The verdict of this server's gate: promoted, trial or refused; None where it judged nothing. Pure."""
    gate = model.evaluation.get("gate")
    return str(gate["verdict"]) if isinstance(gate, Mapping) and gate.get("verdict") else None


def unjudged(model: RegisteredModel) -> bool:
    """Whether it is made for the field without the gate's word that it may be. Raises: BundleError."""
    use = bundle.read_manifest(model.bundle_folder).intended_use
    return use == bundle.FIELD and verdict_of(model) != PROMOTED


def _claimed(manifest: bundle.Manifest) -> dict[str, Any]:
    """The figures in a bundle, without a verdict: only this server's gate gives one."""
    return {name: value for name, value in manifest.evaluation.items() if name not in ("gate", "outcome")}


def _alias(connection: Connection, name: str) -> str | None:
    version = connection.execute(select(tables.aliases.c.version).where(tables.aliases.c.name == name)).scalar()
    return None if version is None else str(version)


def _night(taught: Taught) -> dict[str, Any]:
    """What lineage.json says of a night beside what it says of every version."""
    return {**asdict(taught), "rows": len(taught.rows)}


def _copy_tree(source: Path, target: Path) -> None:
    """Copy plain files, durably. Raises: BundleError for a link, OSError."""
    atomic.make_dirs(target)
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{path} is not a plain file.", hint="Replace the link by the file that it names.")
        if path.is_file():
            with atomic.writing(target / path.relative_to(source)) as out, open(path, "rb") as file:
                while block := file.read(1024 * 1024):
                    out.write(block)
