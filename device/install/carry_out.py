"""Bring a machine to what a plan says, one durable step at a time, and say each change.

Promises:

- What is as it should be is left alone: a second run changes nothing.
- Each file appears whole or not at all. Interrupted anywhere, the next run goes on; `uninstall` knows of all of it.
- A person's settings are never written over. A unit that a person edited is kept beside the new one as NAME.before.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from device.boot import agent_version
from device.install import machine, manifest
from device.install.machine import HOST, at
from device.install.manifest import InstallManifest
from device.install.plan import CONFIG_FOLDER, STATE, USER, InstallPlan, PlannedFile, PlannedFolder, PlannedLink, Reload
from device.install.programs import run_whole, sbin
from device.install.reporting import Say
from shared import atomic

BEFORE = ".before"
SERVER_HOME = "/var/lib/waycue"
"""Of a server on the same machine, which runs under the same account."""


class Installer:
    """root: HOST, or the root folder of another machine. say: hears of each change. dry_run: nothing is changed."""

    def __init__(self, root: Path, *, say: Say, dry_run: bool = False) -> None:
        self._root = root
        self._say = say
        self._dry = dry_run
        self._reloads: set[Reload] = set()
        self.changes = 0

    def install(self, plan: InstallPlan, prefix: str) -> frozenset[Reload]:
        """What must be read again. Raises: WaycueError, OSError."""
        before = manifest.read(self._root) or InstallManifest()
        aimed = self._aim(before, plan, prefix)
        complete = replace(aimed, complete=True)
        is_noted = self._dry or before == complete
        self._folders(plan, ours=False)
        if not is_noted:
            manifest.write(self._root, aimed)
        self._account(plan)
        self._folders(plan, ours=True)
        for file in plan.files:
            self._file(file)
        self._remove_stale(before, plan)
        for link in plan.links:
            self._link(link)
        if not is_noted:
            manifest.write(self._root, complete)
        return frozenset(self._reloads)

    def _folders(self, plan: InstallPlan, *, ours: bool) -> None:
        """Those of the account, or those of root."""
        for folder in plan.folders:
            if folder.is_ours == ours:
                self._folder(folder)

    def _aim(self, before: InstallManifest, plan: InstallPlan, prefix: str) -> InstallManifest:
        """What there will be. Whatever was there before the first install is not ours."""
        # Of its own two, which only --purge removes, that does not matter.
        wanted = plan.places - {CONFIG_FOLDER, STATE}
        new = {name for name in wanted if not at(self._root, name).exists()}
        return InstallManifest(
            version=agent_version(),
            prefix=prefix,
            files=tuple(file.path for file in plan.all_files if not file.keep),
            links=tuple(link.path for link in plan.links),
            folders=tuple(sorted({*before.folders, *new})),
            account=before.account or machine.account(self._root, USER) is None,
        )

    def _changed(self, text: str) -> bool:
        """Count and tell a change; False where it must not be made."""
        self.changes += 1
        self._say(text)
        return not self._dry

    def _account(self, plan: InstallPlan) -> None:
        self._file(plan.account_file)
        members = machine.groups(self._root)
        exists = machine.account(self._root, USER) is not None
        missing = [name for name in plan.groups if USER not in members.get(name, ())]
        if exists and not missing:
            return
        what = f"account {USER}" if not exists else f"account {USER}: member of {' '.join(missing)}"
        if self._changed(what):
            make_account(self._root, plan.groups, exists=exists)

    def _folder(self, folder: PlannedFolder) -> None:
        path = at(self._root, folder.path)
        owner = machine.account(self._root, USER) if folder.is_ours else None
        uid, gid = (owner.uid, owner.gid) if owner else (0, 0)
        if path.is_dir():
            found = path.stat()
            if (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (folder.mode, uid, gid):
                return
        if self._changed(f"folder {folder.path}, mode {folder.mode:04o}{f', of {USER}' if folder.is_ours else ''}"):
            atomic.make_dirs(path)
            if folder.is_ours and path.stat().st_uid != uid:  # of an account that was made anew, or another system's
                _give(path, uid, gid)
            os.chown(path, uid, gid)
            path.chmod(folder.mode)

    def _file(self, file: PlannedFile) -> None:
        path = at(self._root, file.path)
        if file.keep and path.exists():
            return
        if path.is_symlink():
            self._say(f"left alone: {file.path} is a link to {os.readlink(path)} (masked by hand)")
            return
        wanted = file.text.encode()
        found = path.read_bytes() if path.exists() else None
        if found == wanted:
            return
        if self._changed(f"{'file' if found is None else 'new text of'} {file.path}"):
            if found is not None:
                atomic.write_bytes(path.with_name(path.name + BEFORE), found)
            atomic.write_bytes(path, wanted)
        self._reloads.add(file.reload)

    def _link(self, link: PlannedLink) -> None:
        path = at(self._root, link.path)
        if path.is_symlink() and os.readlink(path) == link.target:
            return
        if self._changed(f"enabled at boot: {Path(link.target).name}"):
            atomic.make_dirs(path.parent)
            atomic.point(path, link.target)
        self._reloads.add(Reload.UNITS)

    def _remove_stale(self, before: InstallManifest, plan: InstallPlan) -> None:
        """What an earlier version made and this one does without."""
        wanted = {file.path for file in plan.all_files}
        for name in before.files:
            path = at(self._root, name)
            if name not in wanted and path.exists() and self._changed(f"removed {name}"):
                path.unlink()
                self._reloads.add(Reload.UNITS)

    def uninstall(self, *, purge: bool) -> None:
        """Remove what `install` made. Settings and state stay, unless `purge`. Raises: WaycueError, OSError."""
        made = manifest.read(self._root)
        if made is None:
            return
        for name in (*made.links, *reversed(made.files)):
            if name in made.links or not at(self._root, name).is_symlink():  # of files: masked by hand
                self._remove_file(name)
        for name in sorted(made.folders, reverse=True):
            path = at(self._root, name)
            if path.is_dir() and not any(path.iterdir()) and self._changed(f"removed {name}"):
                path.rmdir()
        if purge:
            self._purge(made)
        elif not self._dry:  # what a later --purge must know
            manifest.write(self._root, replace(made, files=(), links=(), complete=False))

    def _remove_file(self, name: str) -> None:
        path = at(self._root, name)
        if (path.exists() or path.is_symlink()) and self._changed(f"removed {name}"):
            path.unlink()

    def _purge(self, made: InstallManifest) -> None:
        for name in (STATE, CONFIG_FOLDER):
            path = at(self._root, name)
            if path.is_dir() and self._changed(f"removed {name} and all that was in it"):
                shutil.rmtree(path)
        if not made.account or machine.account(self._root, USER) is None:
            return
        if at(self._root, SERVER_HOME).is_dir():
            self._say(f"left alone: account {USER}, whose server is in {SERVER_HOME}")
        elif self._changed(f"removed account {USER}"):
            remove_account(self._root)


def _give(folder: Path, uid: int, gid: int) -> None:
    """Everything in it, and no link out of it. Raises: OSError."""
    for _, folders, files, inside in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=inside, follow_symlinks=False)


def make_account(root: Path, groups: tuple[str, ...], *, exists: bool) -> None:
    """By systemd-sysusers where there is one, else by useradd. Raises: ProgramFailed."""
    if shutil.which("systemd-sysusers"):
        run_whole("systemd-sysusers", *([] if root == HOST else [f"--root={root}"]), "waycue.conf")
        return
    where = [] if root == HOST else ["--prefix", str(root)]
    wanted = ",".join(groups)
    if exists:
        run_whole(sbin("usermod"), *where, "--append", "--groups", wanted, USER)
    else:
        shell = ["--home-dir", "/var/lib/waycue", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        run_whole(sbin("useradd"), *where, "--system", "--user-group", *shell, "--groups", wanted, USER)


def remove_account(root: Path) -> None:
    """Raises: ProgramFailed."""
    run_whole(sbin("userdel"), *([] if root == HOST else ["--prefix", str(root)]), USER)
