"""A PostgreSQL of the tests' own: apt's program as a child process on a free loopback port, with a password.

It refuses to run as root: there it runs as Debian's user of it, or as nobody.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp

import psycopg
from sqlalchemy import URL

from server.broker.child import HOST, free_port
from server.database import postgresql

NAME, USER, PASSWORD = "made", "waycue", "of the tests"
ADMIN = "postgres"  # waycue itself is an ordinary user, who owns its database
_PDEATHSIG = 1
START_S = 60.0
MISSING = "PostgreSQL is not installed (apt install postgresql)"


def find(program: str) -> str | None:
    """Debian keeps them in a folder for each version."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[4]))
    return str(beside[-1]) if beside else shutil.which(program)


def installed() -> bool:
    return all(find(program) for program in ("postgres", "initdb"))


class PostgresChild:
    """start(), stop(), kill() and the like: the port and the data stay."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: empty, where everybody may look into it; None = one in memory."""
        # Its user cannot look into pytest's folders; in memory fsync is free, and a killed process leaves the same.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = folder or Path(mkdtemp(prefix="waycue-postgres-", dir=memory))
        self.port = free_port()
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._made = False

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its first process, 0 = there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it and wait until it answers; the first start makes its data. Does nothing where it runs."""
        if self.running:
            return
        new = not (self.folder / "data").exists()
        if new:
            self._init()
        self._process = self._spawned()
        deadline, tick = time.monotonic() + START_S, threading.Event()
        while True:
            try:
                self.connect("postgres").close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError("\n".join(self.log.read_text().splitlines()[-30:])) from None
                tick.wait(0.05)
                if not self.running:  # killed, it leaves children, and while these end no other can begin
                    self._process = self._spawned()
        if new:
            self.say(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")

    def _spawned(self) -> subprocess.Popen[bytes]:
        options = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": str(self.folder)}
        options |= {"shared_buffers": "32MB", "max_connections": "60", "autovacuum": "off", "min_wal_size": "32MB"}
        options |= {"max_wal_size": "128MB"}  # the disks of the storm are small
        command = [find("postgres") or "", "-D", str(self.folder / "data")]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,
                cwd=self.folder,
                preexec_fn=_ends_with_the_tests,
            )

    def _init(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, password):
                shutil.chown(path, self._user)
        command = [find("initdb") or "", "-D", str(self.folder / "data"), "-U", ADMIN, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-sync"]
        subprocess.run(command, check=True, user=self._user, stdout=subprocess.DEVNULL, cwd=self.folder)

    def stop(self) -> None:
        """It ends at once, and in order: connections are cut."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGQUIT)  # SIGKILL would leave its children and their shared memory

    def lose_first_process(self) -> None:
        """Killed, as by the kernel when memory is full: its children find that out, and end."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=HOST, port=self.port, user=ADMIN, password=PASSWORD, dbname=name, autocommit=True, connect_timeout=5
        )

    def url(self, name: str) -> URL:
        """With the password."""
        return URL.create("postgresql+psycopg", USER, PASSWORD, HOST, self.port, name)

    def empty(self, *, locale: str = "C") -> URL:
        """A database without tables."""
        name = f"empty{next(self._numbers)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE '{locale}' OWNER {USER}")
        return self.url(name)

    def fresh(self) -> URL:
        """A database with today's tables: a copy of one, which takes 50 ms where its migrations take 500."""
        if not self._made:
            self.say(f"CREATE DATABASE {NAME} OWNER {USER}")
            postgresql.open_engine(self.url(NAME)).dispose()
            self._made = True
        name = f"test{next(self._numbers)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE {NAME} OWNER {USER}")
        return self.url(name)

    def copy(self, url: URL) -> URL:
        """Of a database that nobody is at work on: connections that wait are cut, and made anew when they are used."""
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle'"
        self.say(cut.format(url.database))
        name = f"copy{next(self._numbers)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE {url.database} OWNER {USER}")
        return self.url(name)

    def drop(self, url: URL) -> None:
        with suppress(psycopg.OperationalError):  # a test may have ended the server
            self.say(f"DROP DATABASE IF EXISTS {url.database} WITH (FORCE)")

    def say(self, sql: str, name: str = "postgres") -> list[tuple[object, ...]]:
        """To a database; the rows that it answers."""
        with closing(self.connect(name)) as connection:
            found = connection.execute(sql)
            return list(found) if found.description else []

    def write_settings(self, home: Path, url: URL) -> tuple[Path, Path]:
        """As an operator would: the address in waycue.toml, the password in a file of its own. Returns both."""
        home.mkdir(parents=True, exist_ok=True)
        secret = home / "database.password"
        secret.write_text(PASSWORD + "\n")
        with open(home / "waycue.toml", "a", encoding="utf-8") as file:
            file.write(f'[database]\nurl = "{without_password(url)}"\npassword_file = "{secret}"\n')
        return home / "waycue.toml", secret


def without_password(url: URL) -> str:
    """As settings name it."""
    return url._replace(password=None).render_as_string()


def _ends_with_the_tests() -> None:
    """Also where these are killed: a database in memory would stay."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGINT)


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
