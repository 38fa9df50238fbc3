"""What `scripts.no_lookups` sees: in lines of strace, and of a real process that does what none of ours may do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import no_lookups
from tests.packaging.test_telemetry import SUPPRESSING

MISBEHAVES = """
import os, pathlib, socket, subprocess, sys
child = '''
import socket
try: socket.getaddrinfo("events.example.org", 443)
except OSError: pass
try: socket.create_connection(("192.0.2.7", 443), 1)
except OSError: pass
'''
subprocess.run([sys.executable, "-c", child])
pathlib.Path(sys.argv[1], "allowed").write_text("")
made = pathlib.Path(sys.argv[2], "outside")
made.write_text("")
made.rename(made.with_name("moved"))
"""
BEHAVES = """
import pathlib, socket, sys
pathlib.Path(sys.argv[1], "allowed").write_text("")
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
"""
OF_POSTGRESQL = re.compile(re.escape(f"{no_lookups.ROOT}/") + r"(base|global|pg_[a-z]+)/")


def can_watch() -> bool:
    own = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else []), "true"]
    return bool(shutil.which("strace")) and subprocess.run(own, check=False, capture_output=True).returncode == 0


watching = pytest.mark.skipif(not can_watch(), reason="no strace here (apt install strace), or no namespaces")


@watching
def test_a_look_up_a_stranger_and_a_file_elsewhere_are_seen_of_a_child_too(tmp_path: Path) -> None:
    given, elsewhere = tmp_path / "given", tmp_path / "elsewhere"
    given.mkdir()
    elsewhere.mkdir()
    seen = no_lookups.watch([sys.executable, "-c", MISBEHAVES, str(given), str(elsewhere)], given=[given])
    assert seen.names == ("events.example.org",)
    assert "192.0.2.7" in seen.reached
    assert set(seen.written) >= {str(elsewhere / "outside"), str(elsewhere / "moved")}
    assert not [path for path in seen.written if path.startswith(str(given))]
    assert not seen.clean


@watching
def test_loopback_and_the_given_folder_are_nobodys_business(tmp_path: Path) -> None:
    seen = no_lookups.watch([sys.executable, "-c", BEHAVES, str(tmp_path)], given=[tmp_path])
    assert (seen.status, seen.names, seen.reached, seen.written) == (0, (), (), ())


def test_calls_that_strace_tells_in_two_halves_count_as_one() -> None:
    trace = [
        '7  connect(3<s>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110 <unfinished ...>',
        '8  openat(AT_FDCWD</w>, "made", O_WRONLY|O_CREAT, 0666 <unfinished ...>',
        '9  connect(3<s>, {sa_family=AF_INET, sin_addr=inet_addr("192.0.2.7")}, 16 <unfinished ...>',
        "7  <... connect resumed>)             = -1 ENOENT (No such file or directory)",
        "8  <... openat resumed>)              = 4</w/made>",
    ]
    assert no_lookups.judged(trace, ()) == (("192.0.2.7",), ("/w/made",), 3)


@pytest.mark.parametrize(
    ("line", "reached", "written"),
    [
        (
            '7 connect(3<s>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.1.2.3")}, 16) = 0',
            "10.1.2.3",
            "",
        ),
        (
            '7 sendto(3<s>, "x", 1, 0, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1"), x}, 28) = 1',
            "2001:db8::1",
            "",
        ),
        (
            '7 connect(3<s>, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.x"}, 110) = 0',
            "/run/systemd/resolve/io.x",
            "",
        ),
        ('7 connect(3<s>, {sa_family=AF_UNIX, sun_path="/run/nscd/socket"}, 110) = -1 ENOENT (No such file)', "", ""),
        ('7 openat(AT_FDCWD</a>, "b", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</a/b>', "", "/a/b"),
        ('7 openat(AT_FDCWD</a>, "b", O_RDONLY|O_CLOEXEC) = 3</a/b>', "", ""),
        ('7 openat(AT_FDCWD</a>, "/given/b", O_RDWR|O_CREAT, 0600) = 3</given/b>', "", ""),
        ('7 mkdirat(5</c>, "d", 0700) = 0', "", "/c/d"),
        ('7 mkdir("/var/tmp/Microsoft", 0777) = 0', "", "/var/tmp/Microsoft"),
        ('7 mkdir("/var/tmp/there", 0777) = -1 EEXIST (File exists)', "", ""),
        ('7 rename("/given/b", "/c/b") = 0', "", "/c/b"),
        ('7 symlink("a", "/given/current.new") = 0', "", ""),
        ('7 symlinkat("/etc/x", AT_FDCWD</c>, "y") = 0', "", "/c/y"),
        ('7 openat(AT_FDCWD</a>, "/dev/null", O_RDWR) = 3</dev/null>', "", ""),
    ],
)
def test_what_a_line_of_strace_tells(line: str, reached: str, written: str) -> None:
    assert no_lookups.judged([line], ("/given/",))[:2] == ((reached,) if reached else (), (written,) if written else ())


def test_a_question_to_a_resolver_is_read() -> None:
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\6events\7example\0\0\1\0\1"
    assert no_lookups.question(query) == "events.example"
    assert no_lookups.question(b"") == "?"


@pytest.mark.soak
@pytest.mark.timeout(2400)
@watching
def test_a_whole_loop_of_server_broker_device_and_night_looks_nothing_up(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    own = {"HOME": str(home), "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1", "WAYCUE_PATIENCE": "5"}
    loop = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=2000"]
    loop += [f"--basetemp={work / 'base'}", "tests/e2e/test_loop.py"]
    unset = [f"--unset={name}" for name in (*SUPPRESSING, "HF_HUB_OFFLINE")]  # the product keeps quiet by itself
    env = ["env", *unset, *(f"{name}={value}" for name, value in own.items())]
    sound = home / ".config"  # libpulse makes its own folder there when sound outputs are listed
    seen = no_lookups.watch([*env, *loop], given=[work, sound])
    # A PostgreSQL of the tests is under watch, too; it names its files by where it went, which strace does not tell.
    written = [path for path in seen.written if not OF_POSTGRESQL.match(path)]
    assert (seen.names, seen.reached, written) == ((), (), [])
    assert seen.status == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert seen.processes > 20
