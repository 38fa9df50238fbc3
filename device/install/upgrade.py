"""A newer waycue beside the one in use: copied, installed into by pip, tried, and only then switched to.

Promises:

- Until the switch nothing of the version in use is touched; the switch is one step, and `back` undoes it.
- A version with which a check of the selftest fails that passes now is not switched to.
- Settings, moments and models are no part of this: they lie in /etc/waycue and /var/lib/waycue-device.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

from device.install import machine, services
from device.install.machine import HOST
from device.install.package_data import PINS
from device.install.plan import USER
from device.install.programs import ProgramFailed, run_program
from device.install.reporting import Say
from device.install.versions import READY, Versions
from shared import atomic
from shared.errors import ConfigError, Permanent

PIP_S = 3600.0
TRY_S = 300.0
RESTART_S = 240.0
TRIED = ("speech", "model", "disk")
"""Checks that take nothing away from the running agent, and that every version has."""
ROOM = 1.3  # of what the environment in use takes


class UpgradeRefused(Permanent):
    """The newer version is not fit for this device."""


class Upgrade:
    """config: the device's settings, for the trial; None = the version's own default."""

    def __init__(self, prefix: Path, *, say: Say, config: Path | None = None) -> None:
        self._prefix = prefix
        self._versions = Versions(prefix)
        self._say = say
        self._config = config

    def to(self, source: Path, *, start: bool) -> None:
        """Raises: WaycueError, OSError. Nothing has changed then, or the former version is in use again."""
        pinned = pins_of(source)
        before = self._trial(self._versions.current)
        new = self._installed(source, pinned)
        worse = worse_than(before, self._trial(new))
        if worse:
            shutil.rmtree(new)
            raise UpgradeRefused(
                f"The newer version was not taken: {'; '.join(worse)}.", hint="The present one goes on."
            )
        earlier = self._versions.former
        try:
            self._switch(new, start=start)
        except ProgramFailed as error:
            self._versions.forget(new, former=earlier)
            raise UpgradeRefused(
                f"The newer version was taken back: {Exception.__str__(error)}.", hint="The present one goes on."
            ) from error
        self._versions.forget_older()

    def back(self, *, start: bool) -> None:
        """To the version before. Raises: ConfigError where there is none, OSError."""
        former = self._versions.former
        if former is None:
            raise ConfigError("There is no former version here.", hint="Name one: waycue-device upgrade WHEEL.")
        self._switch(former, start=start)

    def _installed(self, source: Path, pinned: bytes) -> Path:
        present, new = self._versions.current, self._versions.fresh()
        size = sum(path.lstat().st_size for path in present.rglob("*") if not path.is_symlink())
        free = shutil.disk_usage(new.parent).free
        if free < ROOM * size:
            raise ConfigError(
                f"{free / 1e6:.0f} MB are free beside {self._prefix}, {ROOM * size / 1e6:.0f} MB are needed.",
                hint="Make room, then run this again.",
            )
        self._say(f"copying {present} to {new}")
        try:
            self._fill(new, present, source, pinned)
        except BaseException:  # Ctrl-C, too: half an environment is worth nothing, and takes the room of moments
            shutil.rmtree(new, ignore_errors=True)
            raise
        return new

    def _fill(self, new: Path, present: Path, source: Path, pinned: bytes) -> None:
        """A copy of the present environment with what the source has. Raises: WaycueError, OSError."""
        run_program("cp", "--archive", "--reflink=auto", str(present), str(new), timeout_s=PIP_S)
        (new / READY).unlink(missing_ok=True)
        pins = new / PINS
        atomic.write_bytes(pins, pinned)
        self._say(f"installing {source}")
        forget_waycue(new)
        pip = (str(new / "bin/python"), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        extra = "device-jetson" if _has_own_onnxruntime(present) else "device"
        run_program(*pip, "--prefer-binary", "-c", str(pins), f"waycue[{extra}] @ {source.as_uri()}", timeout_s=PIP_S)

    def _trial(self, environment: Path) -> Mapping[str, str]:
        """Check → what is wrong with it, "" = nothing; by the account of the service where there is one."""
        words = [word for name in TRIED for word in ("--only", name)]
        words += [] if self._config is None else ["--config", str(self._config)]
        program = (str(environment / "bin/python"), "-I", "-m", "device")
        try:
            done = _as_the_service((*program, "selftest", "--by-hand", "--json", *words))
        except subprocess.TimeoutExpired:
            return {"selftest": f"no answer within {TRY_S:.0f} s"}
        return _wrongs(done)

    def _switch(self, wanted: Path, *, start: bool) -> None:
        self._versions.use(wanted)
        former = self._versions.former
        self._say(f"in use: {wanted}; the former one is {former}")
        try:
            self._settle(start=start)
        except ProgramFailed:
            assert former is not None
            self._versions.use(former)
            self._say(f"in use again: {former}")
            self._settle(start=start)
            raise

    def _settle(self, *, start: bool) -> None:
        """Units as that version has them, and the services started with it. Raises: ProgramFailed."""
        command = (str(self._prefix / "bin/python"), "-I", "-m", "device", "install")
        self._say(run_program(*command, "--prefix", str(self._prefix), "--no-start").strip())
        if start and machine.systemd_runs(HOST):
            services.restart(timeout_s=RESTART_S)
            self._say("started again")


def _as_the_service(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Raises: TimeoutExpired, OSError."""
    owner = machine.account(HOST, USER) if os.geteuid() == 0 else None
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TRY_S,
        cwd="/",
        user=None if owner is None else owner.uid,
        group=None if owner is None else owner.gid,
        extra_groups=None if owner is None else (),
    )


def _wrongs(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Check → what is wrong with it; a selftest that did not run is one check."""
    try:
        return {check["name"]: "" if check["ok"] else check["found"] for check in json.loads(done.stdout)["checks"]}
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines()
        return {"selftest": said[-1] if said else f"exit status {done.returncode}"}


def forget_waycue(environment: Path) -> None:
    """Remove what pip installed of waycue, and nothing else: pip installs no version that is there already."""
    for info in environment.glob("lib/python*/site-packages/waycue-*.dist-info"):
        for name, _, _ in csv.reader((info / "RECORD").read_text(encoding="utf-8").splitlines()):
            path = (info.parent / name).resolve()
            if path.is_relative_to(environment):
                path.unlink(missing_ok=True)
        shutil.rmtree(info)


def worse_than(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is wrong after and was not before. Pure."""
    return [f"{name}: {why}" for name, why in after.items() if why and not before.get(name)]


def source_of(text: str | None) -> Path:
    """The wheel or checkout that is named, else the one that the version in use came from. Raises: ConfigError."""
    path = Path(text).expanduser().resolve() if text else _came_from()
    if path is None:
        raise ConfigError("What shall be installed?", hint="Name a wheel or a checkout: waycue-device upgrade WHEEL.")
    if not (path.suffix == ".whl" and path.is_file()) and not (path / "pyproject.toml").is_file():
        raise ConfigError(f"{path} is neither a wheel nor a checkout of waycue.", hint="Name one that is here.")
    return path


def _came_from() -> Path | None:
    try:
        url = str(json.loads(distribution("waycue").read_text("direct_url.json") or "{}")["url"])
    except (PackageNotFoundError, ValueError, KeyError, TypeError):  # run from a checkout, or a damaged environment
        return None
    return Path(unquote(urlparse(url).path)) if url.startswith("file:") else None


def pins_of(source: Path) -> bytes:
    """The versions that the source was tested with. Raises: ConfigError for a wheel that is none of waycue."""
    if source.is_dir():
        if not (source / PINS).is_file():
            raise ConfigError(f"{source} is no checkout of waycue: it has no {PINS}.", hint="Name another one.")
        return (source / PINS).read_bytes()
    try:
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"device/install/data/{PINS}")
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(
            f"{source} is no wheel of waycue, or a damaged one: {error}.", hint="Copy it again."
        ) from None


def _has_own_onnxruntime(environment: Path) -> bool:
    return any(environment.glob("lib/python*/site-packages/onnxruntime_gpu-*.dist-info"))
