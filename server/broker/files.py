"""The files that our Mosquitto runs from: `waycue-server broker config` writes them, a running server renews them.

    <folder>/mosquitto.conf          complete; good for Mosquitto 2.0 and 2.1
    <folder>/dynamic-security.json   who may do what; the broker's own after its first start
    <folder>/ca.crt, broker.crt, broker.key (0600), crl.pem
    <folder>/mosquitto.pid, mosquitto.db      written by the broker

Promises:

1. Every file is whole at any moment: the broker may read them while they are written.
2. Writing again changes nothing that the broker made of `dynamic-security.json`, unless that cannot be read.
3. Nobody but the account that the broker runs as can read the key.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from server.broker import dynsec_rules, room
from server.broker.room import BrokerLimits, BrokerRoom
from server.identity.authority import Authority
from shared import atomic, credit
from shared.errors import ConfigError, Transient
from shared.transfer import MAX_PART_BYTES

CONF, RULES, PID = "mosquitto.conf", "dynamic-security.json", "mosquitto.pid"
CA, CERTIFICATE, KEY, CRL = "ca.crt", "broker.crt", "broker.key", "crl.pem"
PLUGIN = "mosquitto_dynamic_security.so"
PLUGIN_FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/mosquitto/lib")
MAX_PACKET_BYTES = MAX_PART_BYTES + 32 * 1024  # the largest part, its topic, and some room for the next version
LEAST_QUEUED = 1000  # what an older version wrote, and what another broker must keep
RELOAD_TIMEOUT_S = 10.0

CONFIGURATION = """\
# Mosquitto for waycue, written by `waycue-server broker config`. Good for Mosquitto 2.0 and 2.1.
# Your own changes are lost when it is written again.

# Only who has a certificate of our own authority that was not taken back gets to speak at all; its common name is the
# name that counts, whatever a client says its name or client id is.
listener {port} {host}
cafile {folder}/ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
crlfile {folder}/crl.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false

# What each of them may read and write, changed by the server while this runs. Nothing is allowed by default.
plugin {plugin}
plugin_opt_config_file {folder}/dynamic-security.json

# A part has at most {part_kib} KiB. Beyond these limits the broker drops; devices send again what the server has not
# acknowledged itself.
max_packet_size {max_packet_bytes}
max_inflight_messages 100
{queues}
persistent_client_expiration 2d
# Small answers must not wait for the TCP acknowledgement of the one before (40 ms).
set_tcp_nodelay true

persistence true
persistence_location {folder}/
autosave_interval 300
log_dest stderr
connection_messages true
pid_file {folder}/mosquitto.pid
# The account to change to where it is started as root.
user {user}
"""


@dataclass(frozen=True, slots=True)
class BrokerListener:
    """Where the broker listens, and as whom it runs."""

    host: str
    port: int
    user: str
    plugin: Path


def configuration(folder: Path, listener: BrokerListener, enrolled: int = 0) -> str:
    """The text of mosquitto.conf, with queues for so many enrolled devices. Pure."""
    part_kib, queues = MAX_PART_BYTES // 1024, room.limits_for(enrolled).lines()
    figures = {"max_packet_bytes": MAX_PACKET_BYTES, "part_kib": part_kib, "queues": queues}
    return CONFIGURATION.format(folder=folder, **figures, **asdict(listener))


def limits(enrolled: int = 0) -> list[str]:
    """The lines of the configuration that say how much the broker takes and keeps."""
    text = configuration(Path(), BrokerListener("", 0, "", Path()), enrolled)
    return [line for line in text.splitlines() if line.startswith("max_")]


def look(folder: Path, enrolled: int, *, queued: int = 0) -> BrokerRoom:
    """The broker beside the enrolled devices. queued: what another one keeps, as the settings say; 0 = they do not."""
    conf, process = _text(folder), running(folder)
    own = None if queued else room.limits_of(_name(process), conf)
    if own is not None:
        return BrokerRoom(enrolled, own, True, room.limits_in(conf), _open_files(process))
    messages = queued or LEAST_QUEUED  # what we ask of any broker where its files are not here
    return BrokerRoom(enrolled, BrokerLimits(credit.devices_for(messages), messages, room.LEAST_BYTES))


def raise_limits(folder: Path, enrolled: int) -> BrokerLimits | None:
    """Make room in mosquitto.conf for so many devices; None where it has that, or is not here. Raises: OSError."""
    conf = room.raised(before := _text(folder), enrolled)
    if conf is None:
        return None
    _put(folder, CONF, _noted(folder, before, conf))
    return room.limits_in(conf)


def write(
    folder: Path, authority: Authority, listener: BrokerListener, *, hosts: Sequence[str] = (), enrolled: int = 0
) -> None:
    """All files. hosts: further names to put into the broker's certificate, for clients other than waycue's. enrolled:
    how many devices its queues are reckoned from.

    raises: ConfigError for an account that does not exist or a path that Mosquitto cannot take, OSError
    """
    if any(mark in str(path) for path in (folder, listener.plugin) for mark in "\n\r#"):
        raise ConfigError(f"Mosquitto cannot take the path {folder}.", hint="Use one without # in it.")
    _account(listener.user)
    atomic.make_dirs(folder)
    folder.chmod(0o700)
    if not _is_whole(folder / RULES):
        atomic.write_json(folder / RULES, dynsec_rules.initial(dynsec_rules.wanted({})), mode=0o600)
    authority.service("broker", hosts=hosts, server_auth=True)
    refresh(folder, authority)
    conf = _noted(folder, _text(folder), configuration(folder, listener, enrolled))
    atomic.write_bytes(folder / CONF, conf, mode=0o600)
    _chown(folder, listener.user)


def refresh(folder: Path, authority: Authority) -> bool:
    """Bring certificates and revocations up to date. Returns whether any changed. Raises: OSError."""
    key, certificate = authority.service("broker", server_auth=True)
    now = {CA: authority.ca_pem, KEY: key.read_bytes(), CERTIFICATE: certificate.read_bytes()}
    now[CRL] = authority.crl().read_bytes()
    changed = [name for name, data in now.items() if _content(folder / name) != data]
    for name in changed:
        _put(folder, name, now[name])
    return bool(changed)


def _put(folder: Path, name: str, data: bytes) -> None:
    """A file of the folder, its owner's as the others are."""
    owner = folder.stat()
    atomic.write_bytes(folder / name, data, mode=0o600)
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(folder / name, owner.st_uid, owner.st_gid, follow_symlinks=False)


def reload(folder: Path, command: str | None = None) -> None:
    """Make a running broker read its certificates and revocations again.

    command: what to run for it, without a shell. None = SIGHUP to the process of the pid file. A broker that does
    not run needs none: it reads them at its start.
    raises: Transient where that failed
    """
    if command:
        _run(shlex.split(command))
        return
    process = running(folder)
    if process is None:
        return
    try:
        os.kill(process, signal.SIGHUP)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Transient(
            f"The broker (process {process}) belongs to another account.",
            hint="Set broker.reload to a command that this account may run.",
        ) from None


def running(folder: Path) -> int | None:
    """Process id of the Mosquitto that runs from `folder`. A number left behind by a crash may be another program's."""
    try:
        process = int((folder / PID).read_text())
        started_with = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    ours = os.fsencode(folder / CONF) in started_with or b"mosquitto" in started_with[0]
    return process if ours else None


def find_plugin() -> Path | None:
    """Where this machine has the dynamic-security plugin."""
    places = (sorted(Path("/").glob(f"{folder[1:]}/{PLUGIN}")) for folder in PLUGIN_FOLDERS)
    return next(chain.from_iterable(places), None)


def own_account() -> str:
    """Name of the account that this process runs as."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"There is no account {name!r}.", hint="Give the one that Mosquitto runs as.") from None


def _chown(folder: Path, user: str) -> None:
    account = _account(user)
    if account.pw_uid == os.geteuid():
        return
    try:
        for path in (folder, *folder.iterdir()):
            # If its owner was changed before, it may hold a link: whoever broke into the broker would get its target.
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except PermissionError:
        raise ConfigError(f"{folder} cannot be given to {user}.", hint="Run this command as root.") from None


def _is_whole(rules: Path) -> bool:
    try:
        return isinstance(json.loads(rules.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _text(folder: Path) -> str:
    return (_content(folder / CONF) or b"").decode(errors="surrogateescape")


def _noted(folder: Path, before: str, conf: str) -> bytes:
    """The new configuration, which says what a broker that runs from the one before began with."""
    process = _name(running(folder))
    return room.noted(conf, process, room.limits_of(process, before)).encode(errors="surrogateescape")


def _name(process: int | None) -> str:
    """The number of a process and when it began: another one may get the number. "" = there is none."""
    words = (_content(Path(f"/proc/{process}/stat")) or b"").rpartition(b")")[2].split()
    return f"{process}-{int(words[19])}" if words else ""  # starttime, proc_pid_stat(5)


def _open_files(process: int | None) -> int | None:
    """The most files that a process may have open."""
    found = re.search(rb"^Max open files +(\d+)", _content(Path(f"/proc/{process}/limits")) or b"", re.MULTILINE)
    return int(found[1]) if found else None


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return None


def _run(words: list[str]) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=RELOAD_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Transient(
            f"The broker could not be reloaded: {words[0]} failed ({error}).", hint="See broker.reload."
        ) from None
    if done.returncode != 0:
        raise Transient(
            f"The broker was not reloaded: {words[0]} ended with {done.returncode}: {done.stderr.strip()[:200]}",
            hint="See broker.reload.",
        )
