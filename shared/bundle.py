"""Model bundles: a folder of files that is whole and unaltered, or is refused by name.

    <bundle>/manifest.json      canonical JSON; its SHA-256 names the bundle on the wire
    <bundle>/decoder.onnx …     every file listed in the manifest with its size and SHA-256
    <bundle>/golden/1.jpg …     at most one level of folders
    <bundle>/blocks.bin         the hashes of its blocks (shared.blocks), written by `write_bundle`
    <bundle>/night.delta        where a night made it: its graphs as a difference to its base's (shared.assembly)

Rules kept by every reader here:

1. Nothing in a manifest is trusted: sizes, counts, depth and names are bounded before anything is built from them.
2. A path is a plain name, or `folder/name`: it cannot leave the bundle, be hidden, or be a link.
3. A file that the manifest does not list makes the bundle invalid: nothing unchecked lies beside what gets loaded.
4. Unknown fields are kept (`extra`) and written back. A higher `format` is refused: only a newer agent can read it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from shared import atomic, messages, strict, topics, vocabulary
from shared.errors import BundleError, MessageError
from shared.strict import Count, Items, Number, PlainName, Sha256, Table, Text

FORMAT = 1
MANIFEST_NAME = "manifest.json"
BLOCKS_NAME, BLOCKS_FIELD = "blocks.bin", "block_bytes"
DELTA_NAME = "night.delta"
"""What a device makes the graphs from that it need not fetch (shared.assembly)."""
WEARER_ADAPTER = "wearer_adapter.onnx"
"""In the version of one wearer (shared.runtime.adapter)."""
BLOCK_BYTES = 64 * 1024
DIGEST_BYTES = 32
DEMO, TRIAL, FIELD = "demo", "trial", "field"
INTENDED_USES = (DEMO, TRIAL, FIELD)
FOR_WALKS, FOR_JUDGING = frozenset({FIELD}), frozenset(INTENDED_USES)
"""What may guide a walk without anybody's word, and what may be looked at where nobody walks by it."""
MAX_MANIFEST_BYTES = 1024 * 1024  # a manifest with evaluation tables is about 20 KB
MAX_FILES = 512
MAX_BUNDLE_BYTES = 8 * 1024**3  # the largest base in sight is 2 GB; a Pi's card has 32
MAX_DEPTH = 16

_FETCH_AGAIN = "Copy or download the bundle again; do not edit its files."


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle."""

    path: Text  # `name` or `folder/name`, with plain names only
    size_bytes: Count
    sha256: Sha256
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is, and each of its files."""

    format: Count
    version: PlainName  # a plain name: it becomes a folder name and travels in the offer
    created_at_utc: Number
    base: Text  # hub name or checkpoint that the model was trained from
    parent: Text  # version of the model before it ("" = none)
    intended_use: Text
    """demo (a device refuses it outside replay) | trial (the same, but for wearers named as supervised) | field"""
    files: Annotated[tuple[FileEntry, ...], Items]
    thresholds: Table  # speak_above, flag_below, hazard_above: recalibrated per version, so they travel with it
    model: Table  # preprocessing, prompt ids, special tokens, objects, sides: read by shared.runtime
    evaluation: Table = field(default_factory=dict)
    extra: Table = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all listed files, without the manifest."""
        return sum(entry.size_bytes for entry in self.files)

    def entry(self, path: str) -> FileEntry | None:
        return next((entry for entry in self.files if entry.path == path), None)


def write_bundle(folder: Path, manifest: Manifest, *, block_bytes: int = BLOCK_BYTES) -> Manifest:
    """Make `folder` a bundle: hash and fsync every file in it, then write manifest.json last, durably.

    manifest: what the bundle is; its `format` and `files` are filled in here
    block_bytes: size of the blocks listed in blocks.bin; 0 = write none
    returns: the manifest as written; it was read back through the strict reader, so a device can read it too
    raises: BundleError for a file or value that no bundle may hold, OSError
    """
    (folder / BLOCKS_NAME).unlink(missing_ok=True)
    extra = {key: value for key, value in manifest.extra.items() if key != BLOCKS_FIELD}
    if block_bytes and (paths := _listed(folder)):
        _write_blocks(folder, paths, block_bytes)
        extra[BLOCKS_FIELD] = block_bytes
    entries = []
    for path in _listed(folder):
        file = folder / path
        _fsync_file(file)
        entries.append(FileEntry(path, file.stat().st_size, atomic.sha256_file(file)))
    for inner in sorted({(folder / entry.path).parent for entry in entries}):
        atomic.fsync_dir(inner)
    data = manifest_bytes(replace(manifest, format=FORMAT, files=tuple(entries), extra=extra))
    manifest = parse_manifest(data, name=folder.name)
    atomic.write_bytes(folder / MANIFEST_NAME, manifest_bytes(manifest))
    return manifest


def _write_blocks(folder: Path, paths: list[str], size: int) -> None:
    with atomic.writing(folder / BLOCKS_NAME) as out:
        for path in paths:
            with open(folder / path, "rb") as file:
                while block := file.read(size):
                    out.write(hashlib.sha256(block).digest())


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical form: sorted keys, no spaces, UTF-8, no NaN. Written again, a manifest gives the same bytes.

    Raises: BundleError where a value has no JSON form.
    """
    try:
        text = json.dumps(
            messages.to_dict(manifest), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(
            f"Model bundle {manifest.version}: the manifest cannot be written as JSON: {error}."
        ) from None
    return text.encode()


def parse_manifest(data: bytes, *, name: str = "") -> Manifest:
    """Read the bytes of a manifest.json strictly. `name` is used in messages. Raises: BundleError."""
    where = f"Model bundle {name}" if name else "Model bundle"
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where}: {MANIFEST_NAME} has {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are read.")
    try:
        value = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
        strict.check_depth(value, MANIFEST_NAME, most=MAX_DEPTH)
        _check_format(value, where)
        manifest = strict.read(Manifest, value)
    except (ValueError, RecursionError, MessageError) as error:
        raise BundleError(f"{where}: {MANIFEST_NAME} cannot be read: {error}", hint=_FETCH_AGAIN) from None
    _check_manifest(manifest, where)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder; its files are not looked at. Raises: BundleError."""
    return parse_manifest(read_manifest_bytes(folder), name=folder.name)


def read_manifest_bytes(folder: Path) -> bytes:
    """The bytes of manifest.json: their SHA-256 is the bundle's identity. Raises: BundleError."""
    path = folder / MANIFEST_NAME
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"Model bundle {folder.name}: {MANIFEST_NAME} is not a file of readable size.")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"Model bundle {folder}: {MANIFEST_NAME} cannot be opened ({error.strerror}).",
            hint="Name a folder that holds a complete bundle.",
        ) from None


def verify(folder: Path) -> Manifest:
    """Check a whole bundle: manifest, every file's size and SHA-256, and that nothing else lies in the folder.

    Raises: BundleError naming the first file that is wrong and what to do.
    """
    manifest = read_manifest(folder)
    for _, error in problems(folder, manifest):
        raise error
    return manifest


def problems(folder: Path, manifest: Manifest) -> Iterator[tuple[str, BundleError]]:
    """The files that are wrong, missing, or not in the manifest. Raises: BundleError for a folder that holds others
    than plain files."""
    present = set(_listed(folder))
    for entry in manifest.files:
        try:
            check_file(folder, entry)
        except BundleError as error:
            yield entry.path, error
    for path in sorted(present - {entry.path for entry in manifest.files}):
        where = f"Model bundle {folder.name}: {path}"
        yield path, BundleError(f"{where} is not in its manifest.", hint="Remove the file, or fetch the bundle again.")


def check_vocabulary(manifest: Manifest) -> None:
    """A model that was taught words which this device does not know would see things and keep silent about them.

    Raises: BundleError.
    """
    known, taught = vocabulary.load(), manifest.model.get("vocabulary", 1)
    newer = type(taught) is not int or taught > known.version
    unknown = [
        str(name)
        for field_name, words in (("objects", tuple(known.objects)), ("sides", known.sides))
        for name in _list(manifest.model.get(field_name))
        if name not in words
    ]
    if newer or unknown:
        words = f": {', '.join(unknown[:5])}" if unknown else ""
        raise BundleError(
            f"Model {manifest.version} speaks a newer vocabulary than this device knows{words}.",
            hint="Update waycue on the device, then offer the model again.",
        )


def check_use(manifest: Manifest, allowed: frozenset[str]) -> None:
    """Whether a model is meant for what is about to be done with it. Raises: BundleError saying what it may do."""
    if manifest.intended_use in allowed:
        return
    if manifest.intended_use == DEMO:
        raise BundleError(
            f"Model {manifest.version} is a demonstration model, trained on drawn pictures: it must not guide.",
            hint="Install a field model, or pass --allow-demo-model to try it in a safe place.",
        )
    raise BundleError(
        f"Model {manifest.version} is on trial: it has not shown that it may guide a walk on its own.",
        hint="It guides a replay, and a wearer whom the server names: waycue-server rollout start "
        f"{manifest.version} --device NAME --supervised. A folder of your own: --allow-trial-model, with a sighted "
        "companion.",
    )


def check_file(folder: Path, entry: FileEntry) -> None:
    """Check one file of a bundle against its entry. Raises: BundleError naming the file."""
    path, where = folder / entry.path, f"Model bundle {folder.name}: {entry.path}"
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise BundleError(f"{where} is not a plain file.", hint=_FETCH_AGAIN)
        if info.st_size != entry.size_bytes:
            raise BundleError(
                f"{where} has {info.st_size} bytes, its manifest says {entry.size_bytes}.", hint=_FETCH_AGAIN
            )
        digest = atomic.sha256_file(path)
    except OSError as error:
        raise BundleError(f"{where} cannot be read ({error.strerror}).", hint=_FETCH_AGAIN) from None
    if digest != entry.sha256:
        raise BundleError(
            f"{where} was altered: its SHA-256 is {digest[:16]}…, its manifest says {entry.sha256[:16]}….",
            hint=_FETCH_AGAIN,
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed(folder: Path) -> list[str]:
    """Paths of the files in a bundle folder, sorted, without the manifest. Raises: BundleError for anything else."""
    try:
        paths = sorted(_walk(folder, folder.name))
    except OSError as error:
        raise BundleError(f"Model bundle {folder} cannot be read ({error.strerror}).") from None
    return [path for path in paths if path != MANIFEST_NAME]


def _walk(folder: Path, where: str, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as items:
        for count, item in enumerate(items):
            path = prefix + item.name
            if count > MAX_FILES:
                raise BundleError(f"Model bundle {where}: more than {MAX_FILES} files in one folder.")
            if item.is_dir(follow_symlinks=False) and not prefix and topics.NAME.match(item.name):
                yield from _walk(folder / item.name, where, f"{item.name}/")
            elif item.is_file(follow_symlinks=False) and _is_path(path):
                yield path
            else:
                raise BundleError(
                    f"Model bundle {where}: {path!r} may not be in a bundle.",
                    hint="Only plain files, in the folder or one folder below, with plain names. Remove it.",
                )


def _is_path(path: str) -> bool:
    """`name` or `folder/name`. The suffix of half-written files is never part of a bundle."""
    levels = path.split("/")
    plain = all(topics.NAME.match(level) for level in levels)
    return plain and len(levels) <= 2 and not path.endswith(atomic.TEMP_SUFFIX)


def _check_format(value: Any, where: str) -> None:
    number = value.get("format") if isinstance(value, dict) else None
    if type(number) is int and number > FORMAT:
        raise BundleError(
            f"{where} has format {number}; this agent reads formats up to {FORMAT}.",
            hint="Update the agent, then offer the model again.",
        )
    if number != FORMAT or type(number) is not int:
        raise ValueError(f"format {number!r} is not a bundle format")


def _check_manifest(manifest: Manifest, where: str) -> None:
    paths = [entry.path for entry in manifest.files]
    _check_paths(paths, where)
    if not paths or len(paths) > MAX_FILES or manifest.size_bytes > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"{where}: {len(paths)} files of {manifest.size_bytes} bytes together; 1 to {MAX_FILES} files of at most "
            f"{MAX_BUNDLE_BYTES} bytes are accepted."
        )
    if manifest.intended_use not in INTENDED_USES:
        raise BundleError(f"{where}: intended_use is {manifest.intended_use!r}, not one of {', '.join(INTENDED_USES)}.")
    for name, threshold in manifest.thresholds.items():
        if type(threshold) not in (int, float) or not math.isfinite(threshold):
            raise BundleError(f"{where}: the threshold {name} is {threshold!r}, not a number.")


def _check_paths(paths: list[str], where: str) -> None:
    for path in paths:
        if not _is_path(path) or path == MANIFEST_NAME:
            raise BundleError(f"{where}: {path!r} is not a path that a bundle may hold.", hint=_FETCH_AGAIN)
    folders = {path.split("/")[0].casefold() for path in paths if "/" in path}
    taken = [path.casefold() for path in paths]  # a bundle must also unpack where names ignore case
    if len(set(taken)) != len(taken) or folders & set(taken):
        raise BundleError(f"{where}: two files share one path.", hint=_FETCH_AGAIN)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a field is given twice")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _fsync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
