"""Root folders of machines that do not run: what an image or a mounted card looks like to `install`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

GROUPS = {"root": 0, "audio": 29, "video": 44}
RASPBERRY_PI_OS = {**GROUPS, "gpio": 997, "i2c": 998, "input": 995, "render": 992}
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("systemd-sysusers") or shutil.which("useradd", path="/usr/sbin")),
    reason="owners of files are set by root alone",
)


def make_root(folder: Path, *, systemd: int = 252, groups: dict[str, int] = RASPBERRY_PI_OS) -> Path:
    """A root with an environment at /opt/waycue, and nothing else that a real one has."""
    for name in ("etc", "opt/waycue/bin", "usr/lib/systemd", "var/lib", "run"):
        (folder / name).mkdir(parents=True)
    (folder / "opt/waycue/bin/waycue-device").touch()
    (folder / f"usr/lib/systemd/libsystemd-shared-{systemd}.so").touch()
    (folder / "etc/group").write_text("".join(f"{name}:x:{gid}:\n" for name, gid in groups.items()))
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Every file, link and folder below → its text, target or mode. Without the books of accounts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"→ {os.readlink(path)}"
        elif path.is_dir():
            status = path.stat()
            found[name] = f"{status.st_mode & 0o7777:04o} {status.st_uid}"
        elif name.split("/")[-1].strip("-") not in ("passwd", "group", "shadow", "gshadow", ".pwd.lock"):
            found[name] = path.read_text(errors="replace")
    return found
