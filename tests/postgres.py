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
MISSING = "PostgreSQL is not installed (apt install postgresql)"


def find(program: str) -> str | None:
    """Debian keeps them in a folder for each version."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[4]))
    return str(beside[-1]) if beside else shutil.which(program)


def installed() -> bool:
    return all(find(program) for program in ("postgres", "initdb"))


class PostgresChild:
    """start(), stop(), kill(): the port and the data stay."""

    def __init__(self) -> None:
        # Its user cannot look into pytest's folders; in memory fsync is free, and a killed process leaves the same.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(mkdtemp(prefix="waycue-postgres-", dir=memory))
        self.port = free_port()
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._made = False

    def start(self) -> None:
        """Start it and wait until it answers; the first start makes its data. Does nothing where it runs."""
        if self._process is not None:
            return
        new = not (self.folder / "data").exists()
        if new:
            self._init()
        options = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": str(self.folder)}
        options |= {"shared_buffers": "32MB", "max_connections": "60", "autovacuum": "off", "min_wal_size": "32MB"}
        command = [find("postgres") or "", "-D", str(self.folder / "data")]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,
                cwd=self.folder,
                preexec_fn=_ends_with_the_tests,
            )
        deadline, tick = time.monotonic() + 30, threading.Event()
        while True:
            try:
                self.connect("postgres").close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                tick.wait(0.05)
        if new:
            self.say(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")

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

    def drop(self, url: URL) -> None:
        with suppress(psycopg.OperationalError):  # a test may have ended the server
            self.say(f"DROP DATABASE IF EXISTS {url.database} WITH (FORCE)")

    def say(self, sql: str, name: str = "postgres") -> list[tuple[object, ...]]:
        """To a database; the rows that it answers."""
        with closing(self.connect(name)) as connection:
            found = connection.execute(sql)
            return list(found) if found.description else []

    def write_settings(self, home: Path, url: URL) -> None:
        """As an operator would: the address in waycue.toml, the password in a file of its own."""
        home.mkdir(parents=True, exist_ok=True)
        secret = home / "database.password"
        secret.write_text(PASSWORD + "\n")
        plain = url._replace(password=None).render_as_string()
        with open(home / "waycue.toml", "a", encoding="utf-8") as file:
            file.write(f'[database]\nurl = "{plain}"\npassword_file = "{secret}"\n')


def _ends_with_the_tests() -> None:
    """Also where these are killed: a database in memory would stay."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGINT)


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
