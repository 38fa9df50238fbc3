"""The machine's disk: Debian by debootstrap, waycue from a wheel of this checkout, its units, a model.

Every step is kept in the work folder and made again only when what it is made of has changed:

    debian/      the file system of a bare Debian       (suite, packages)
    wheels/      waycue's dependencies                  (pyproject.toml, constraints.txt)
    film.mp4     what the camera sees                   (server/walks)
    root/        debian/ with waycue, its units, a model (all of the above, device/, shared/, systemd/, the model)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from scripts.systemd_vm import film
from shared import atomic
from shared.errors import ConfigError, Unreachable

ROOT = Path(__file__).parents[2]
TOOLS = {
    "debootstrap": "debootstrap",
    "fsfreeze": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "parec": "pulseaudio-utils",
    "pulseaudio": "pulseaudio",
    "systemd-nspawn": "systemd-container",
}
"""Program → Debian package."""
PACKAGES = (
    "systemd-sysv", "dbus", "udev", "python3", "python3-venv", "espeak-ng", "libportaudio2", "libasound2-plugins",
    "procps", "ca-certificates",
)  # fmt: skip
SUITE, PYTHON = "bookworm", "3.11"
PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
GUEST = Path(__file__).parent / "guest"
"""Files that go into the machine as they are."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything of one machine lies."""

    work: Path

    @property
    def root(self) -> Path:
        return self.work / "root"

    @property
    def debian(self) -> Path:
        return self.work / "debian"

    @property
    def film(self) -> Path:
        return self.work / "film.mp4"


def check_tools(tools: Mapping[str, str] = MappingProxyType(TOOLS)) -> None:
    """tools: program → Debian package. Raises: ConfigError naming what is missing, by its package."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for tool, package in tools.items() if shutil.which(tool, path=path) is None})
    if missing:
        raise ConfigError("Programs are missing.", hint=f"sudo apt install --no-install-recommends {' '.join(missing)}")
    if os.geteuid() != 0:
        raise ConfigError("debootstrap and chroot need root.", hint="Run it with sudo, or in a machine of its own.")


def mirror_of_this_machine(suite: str) -> str:
    """The archive that this machine's apt takes a suite from. Raises: ConfigError where it takes it from nowhere."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        lines = []
    found = [line.split(" ", 1)[1] for line in lines if line.startswith(f"{suite} ")]
    if not found:
        raise ConfigError(f"apt of this machine knows no {suite}.", hint="Give --mirror URL, an archive of Debian.")
    return found[0]


def prepare(places: Places, *, mirror: str, model: Path | None) -> None:
    """Make what is not there yet. Raises: ConfigError, Unreachable."""
    check_tools()
    places.work.mkdir(parents=True, exist_ok=True)
    debian, wheels = places.debian, places.work / "wheels"
    step(debian, (SUITE, *PACKAGES), lambda: bootstrap(places, debian, PACKAGES, mirror))
    needs = [ROOT / name for name in ("pyproject.toml", "constraints.txt")]
    step(wheels, digest(needs), lambda: _fetch_wheels(wheels))
    step(places.film, digest([ROOT / "server/walks", Path(film.__file__)]), lambda: film.write(places.film))
    bundle = model or _starter(places)
    made_of = digest([*needs, *(ROOT / name for name in ("device", "shared", "systemd")), GUEST, bundle])
    made_of = (*made_of, *(stamp(part).read_text() for part in (debian, wheels)))
    step(places.root, made_of, lambda: _install(places, wheels, bundle))


def step(made: Path, of: Sequence[str], make: Callable[[], None]) -> None:
    """Make it unless it was made of the same before."""
    wanted = hashlib.sha256("\n".join(of).encode()).hexdigest()
    noted = stamp(made)
    if made.exists() and noted.exists() and noted.read_text() == wanted:
        return
    noted.unlink(missing_ok=True)
    make()
    atomic.write_bytes(noted, wanted.encode())


def stamp(made: Path) -> Path:
    return made.parent / f"{made.name}.made-of"


def digest(paths: Iterable[Path]) -> tuple[str, ...]:
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return tuple(
        f"{file.relative_to(file.anchor)} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    )


def run(command: Sequence[object], log: Path, *, why: str, cwd: Path | None = None) -> None:
    """Run a program of the build with its output in a log. Raises: Unreachable with the log's last lines."""
    with log.open("ab") as out:
        words = [str(word) for word in command]
        done = subprocess.run(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=cwd, check=False)
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise Unreachable(f"{why} failed:\n{last}\n", hint=f"The whole log: {log}. Run it again: what is done is kept.")


def say(text: str) -> None:
    print(f"systemd_vm: {text}", flush=True)


def bootstrap(places: Places, folder: Path, packages: Sequence[str], mirror: str) -> None:
    """A bare Debian with these packages. mirror: an archive of Debian; "" = that of this machine's apt."""
    say(f"debootstrap of {SUITE} (some minutes)")
    shutil.rmtree(folder, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, folder]
    run([*command, mirror or mirror_of_this_machine(SUITE)], places.work / "debootstrap.log", why="debootstrap")


def _fetch_wheels(wheels: Path) -> None:
    """The dependencies of waycue[device], and what a button on a pin needs, for the machine's Python."""
    say("fetching waycue's dependencies")
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    log = wheels.parent / "pip.log"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, "."]
    run(command, log, why="pip wheel", cwd=ROOT)
    own = next(wheels.glob("waycue-*.whl"))
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--python-version", PYTHON]
    command += [option for platform in PLATFORMS for option in ("--platform", platform)]
    command += ["-c", ROOT / "constraints.txt", "-d", wheels, f"{own}[device]", "gpiozero", "lgpio"]
    run(command, log, why="pip download", cwd=ROOT)
    own.unlink()


def _starter(places: Places) -> Path:
    """The bundle of the model that ships with waycue, exported here."""
    home = places.work / "home"
    if not any((home / "models").glob("*starter*/bundle")):
        say("exporting the demonstration model")
        server = [sys.executable, "-m", "server", "--home", home]
        run([*server, "init"], places.work / "starter.log", why="waycue-server init", cwd=ROOT)
        run([*server, "models", "add", "starter"], places.work / "starter.log", why="the export", cwd=ROOT)
    return next((home / "models").glob("*starter*/bundle"))


def _install(places: Places, wheels: Path, bundle: Path) -> None:
    say("installing waycue")
    root, log = places.root, places.work / "install.log"
    shutil.rmtree(root, ignore_errors=True)
    run(["cp", "-a", places.debian, root], log, why="cp")
    shutil.copytree(wheels, root / "wheels")
    shutil.copytree(bundle, root / "opt/model")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", root / "wheels", "."]
    run(command, log, why="pip wheel", cwd=ROOT)
    inside = ["chroot", root]
    run([*inside, "python3", "-m", "venv", "--system-site-packages", "/opt/waycue"], log, why="venv")
    pip = [*inside, "/opt/waycue/bin/pip", "install", "--no-index", "--find-links", "/wheels", "--no-cache-dir"]
    run([*pip, "waycue[device]", "gpiozero", "lgpio"], log, why="pip install")
    shutil.rmtree(root / "wheels")
    run([*inside, "/opt/waycue/bin/waycue-device", "install", "--no-start"], log, why="waycue-device install")
    shutil.copytree(GUEST, root, dirs_exist_ok=True)
