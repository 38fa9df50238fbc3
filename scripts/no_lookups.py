"""python -m scripts.no_lookups: run a command, with all that it starts, where every name look-up is seen and fails.

The command gets a network of its own with nothing in it but loopback, and a resolver there that writes down what it is
asked and knows no name. strace notes beside it, of every process: whom it tries to reach, which resolver daemons it
asks over a local socket, and which files it writes outside the folders that were given. See --help.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shared import atomic
from shared.errors import ConfigError, WaycueError

ROOT = Path(__file__).parents[1]
CALLS = (
    "connect", "sendto", "sendmsg", "sendmmsg", "open", "openat", "creat", "mkdir", "mkdirat", "rename", "renameat",
    "renameat2", "link", "linkat", "symlink", "symlinkat",
)  # fmt: skip
DAEMONS = re.compile(r"/(nscd|avahi-daemon|systemd/resolve|dbus)/")
"""Local sockets behind which somebody else would look a name up."""
ALLOWED = ("/dev/", "/proc/", "/sys/fs/cgroup/", "pipe:", "socket:", "anon_inode:", "memfd:")
_ADDRESS = re.compile(r"sa_family=AF_INET6?,.*?(?:inet_addr\(\"([^\"]+)\"\)|inet_pton\(AF_INET6, \"([^\"]+)\")")
_UNIX = re.compile(r"sa_family=AF_UNIX, sun_path=\"([^\"]+)\"")
_OPENED = re.compile(r"(?:open|openat|creat)\(.*\) = \d+<([^>]*)>")
_WRITES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE|creat\(")
_NAMED = re.compile(r"(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"([^\"]+)\"")
_CHANGES = re.compile(r"^\d+ +(mkdirat|mkdir|renameat2|renameat|rename|linkat|link|symlinkat|symlink)\(.* = 0$")
_UNFINISHED, _RESUMED = " <unfinished ...>", re.compile(r"^\d+ +<\.\.\. \w+ resumed>(.*)$")
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What a command and all that it started did."""

    status: int
    names: tuple[str, ...]
    """That were looked up."""
    reached: tuple[str, ...]
    """Addresses beyond this machine that somebody tried to reach, and local sockets of resolver daemons."""
    written: tuple[str, ...]
    """Files and folders made or changed outside the given folders."""
    processes: int

    @property
    def clean(self) -> bool:
        return not (self.names or self.reached or self.written)


class Recorder:
    """A resolver on loopback that knows no name, and keeps what it was asked."""

    def __init__(self, port: int = 53) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", port))
        self.names: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, sender = self._udp.recvfrom(4096)
            self.names.append(question(query))
            self._udp.sendto(query[:2] + b"\x81\x83" + query[4:6] + b"\0" * 6 + query[12:], sender)  # NXDOMAIN


def question(query: bytes) -> str:
    """The name that a DNS message asks for; "?" where it is none."""
    labels, at = [], 12
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode(errors="replace"))
        at += 1 + query[at]
    return ".".join(labels) or "?"


def watch(command: Sequence[str], *, given: Iterable[Path], log: Path | None = None) -> Seen:
    """Run it and tell. given: folders in which it may write. Raises: ConfigError where this machine cannot watch."""
    for tool in ("strace", "unshare", "mount"):
        if shutil.which(tool) is None:
            raise ConfigError(f"There is no {tool}.", hint="Install it: sudo apt install strace util-linux.")
    with tempfile.TemporaryDirectory(prefix="waycue-watch-") as made:
        folder = Path(made)
        inside = [sys.executable, "-m", "scripts.no_lookups", "--inside", str(folder), "--", *command]
        unshare = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(":")}
        done = subprocess.run([*unshare, *inside], env=env, check=False)
        answer = folder / "answer.json"
        if not answer.exists():
            raise ConfigError("No network of its own can be had here.", hint="It needs root, or user namespaces.")
        trace = (folder / "trace").read_text(errors="replace")
        if log is not None:
            atomic.write_bytes(log, trace.encode())
        names = tuple(sorted(set(json.loads(answer.read_bytes()))))
        allowed = tuple(f"{path.resolve()}/" for path in given)
        return Seen(done.returncode, names, *judged(trace.splitlines(), allowed))


def judged(trace: Iterable[str], allowed: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """(reached, written, processes) of strace's lines, as `-f -y` writes them."""
    reached, written, processes = set(), set(), set()
    for line in whole(trace):
        processes.add(line.split(" ", 1)[0])
        reached |= set(_reached(line))
        written |= {path for path in _written(line) if not f"{path}/".startswith((*allowed, *ALLOWED))}
    return tuple(sorted(reached)), tuple(sorted(written)), len(processes)


def whole(trace: Iterable[str]) -> Iterator[str]:
    """strace's lines, with the two halves of a call joined that another process's line came between."""
    begun: dict[str, str] = {}
    for line in trace:
        process = line.split(" ", 1)[0]
        if line.endswith(_UNFINISHED):
            begun[process] = line.removesuffix(_UNFINISHED)
        elif (resumed := _RESUMED.match(line)) and process in begun:
            yield re.sub(r" +(= )", r" \1", begun.pop(process) + resumed[1])
        else:
            yield line
    yield from begun.values()  # of processes that ended in the middle


def _reached(line: str) -> list[str]:
    found = [first or second for first, second in _ADDRESS.findall(line)]
    beyond = [address for address in found if not address.startswith(("127.", "::1", "0.0.0.0", "::ffff:127."))]
    failed = " = -1 " in line and "EINPROGRESS" not in line  # glibc asks for nscd, also where there is none
    return beyond + [path for path in _UNIX.findall(line) if DAEMONS.search(path) and not failed]


def _written(line: str) -> list[str]:
    """Absolute paths. Where strace has no folder beside a relative one, it counts from the checkout."""
    opened = _OPENED.search(line)
    if opened is not None:
        path = opened[1].removesuffix(" (deleted)")
        return [path] if _WRITES.search(line) else []
    if (changed := _CHANGES.search(line)) is None:
        return []
    named = [(base or ROOT, path) for base, path in _NAMED.findall(line.partition(changed[1])[2])]
    if changed[1].startswith(("symlink", "link")):  # the first is what it points to
        named = named[-1:]
    return [os.path.normpath(os.path.join(base, path)) for base, path in named]


def inside(folder: Path, command: Sequence[str]) -> int:
    """In the namespaces: loopback, the resolver, and the command under strace."""
    _bring_up("lo")
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", resolv, os.path.realpath("/etc/resolv.conf")], check=True)
    recorder = Recorder()
    strace = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "300",
        "--seccomp-bpf",
        "-e",
        f"trace={','.join(CALLS)}",
        "-e",
        "signal=none",
    ]
    done = subprocess.run([*strace, "-o", folder / "trace", *command], check=False)
    (folder / "answer.json").write_text(json.dumps(recorder.names))
    return done.returncode


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", interface.encode(), 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", interface.encode(), flags | _IFF_UP))


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="python -m scripts.no_lookups",
        description="Run a command where the only network is loopback and every name look-up is noted and fails; "
        "tell what it and all that it started looked up, tried to reach, and wrote outside the given folders.",
        epilog="example: python -m scripts.no_lookups --given build/demo -- .venv/bin/python -m scripts.demo",
    )
    parsed.add_argument("--given", nargs="+", type=Path, default=[], metavar="DIR", help="folders where it may write")
    parsed.add_argument("--log", type=Path, metavar="FILE", help="keep strace's lines")
    parsed.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parsed.add_argument("command", nargs="+", help="what to run, after --")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """0 = nothing was looked up, reached or written elsewhere, and the command ended with 0."""
    options = parser().parse_args(arguments)
    if options.inside is not None:
        return inside(options.inside, options.command)
    try:
        seen = watch(options.command, given=options.given, log=options.log)
    except WaycueError as error:
        print(f"no_lookups: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(seen), indent=1))
    return 0 if seen.clean and seen.status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
