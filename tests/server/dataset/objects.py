"""A small object store over HTTP, and a dataset's blobs in it: the second implementation of server.dataset.blobs.

PUT /<name>, If-None-Match: *   201, or 412 where it is there (the same bytes: names are hashes)
GET /<name>, Range: bytes=a-b   200, 206, 404 or 416;  HEAD, DELETE  200, 204 or 404
GET /?place=<place>             [[name, size, changed at], …]
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from server.dataset.blobs import BlobEntry, place_of
from shared import atomic
from shared.clock import SystemClock

_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")


class ObjectServer:
    """A context manager. asked: how often each method was called."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("CREATE TABLE objects (name TEXT PRIMARY KEY, data BLOB, at REAL) WITHOUT ROWID")
        self._lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.close_connection = True
                super().handle_one_request()

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, data = store.answer(self.command, self.path, dict(self.headers), self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815  as http.server wants them

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._db.close()

    def names(self) -> list[str]:
        with self._lock:
            return [name for (name,) in self._db.execute("SELECT name FROM objects ORDER BY name")]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self._lock:
            self.asked[method] += 1
            name = path.lstrip("/")
            if path.startswith("/?place="):
                like = f"{path.removeprefix('/?place=')}/%"
                rows = self._db.execute("SELECT name, length(data), at FROM objects WHERE name LIKE ?", (like,))
                return 200, json.dumps(rows.fetchall()).encode()
            found = self._db.execute("SELECT data FROM objects WHERE name = ?", (name,)).fetchone()
            if method == "PUT":
                if found is not None and headers.get("If-None-Match") == "*":
                    return 412, b""
                self._db.execute("REPLACE INTO objects VALUES (?, ?, ?)", (name, body, SystemClock().utc_s()))
                return 201, b""
            if found is None:
                return 404, b""
            if method == "DELETE":
                self._db.execute("DELETE FROM objects WHERE name = ?", (name,))
                return 204, b""
            return _part(found[0], headers.get("Range", ""))


def _part(data: bytes, wanted: str) -> tuple[int, bytes]:
    asked = _RANGE.match(wanted)
    if asked is None:
        return 200, data
    first, last = int(asked[1]), int(asked[2] or len(data) - 1)
    return (206, data[first : last + 1]) if first < len(data) else (416, b"")


class ObjectBlobs:
    """Blobs in such a store. cache: a folder on the file system of what is adopted. A blob that was adopted lies there,
    marked, until its place is settled."""

    def __init__(self, address: str, cache: Path) -> None:
        self._address, self._cache, self._marks = address, cache, cache / "marks"
        self._uploaded = set[str]()
        """By this process, where they were not before."""
        for folder in (cache, self._marks):
            folder.mkdir(parents=True, exist_ok=True)

    def adopt(self, name: str, source: Path) -> bool:
        mark, target = self._mark(name), self._here(name)
        is_new = not target.exists()
        if source.exists():
            mark.touch()
            os.replace(source, target)
        elif self.size(name) is None:
            raise FileNotFoundError(source)
        return is_new

    def give_back(self, name: str, source: Path) -> None:
        self._mark(name).unlink(missing_ok=True)
        os.replace(self._here(name), source)
        if name in self._uploaded:
            self.remove([name])

    def put(self, name: str, data: bytes) -> None:
        status, _, _ = self._ask("PUT", name, {"If-None-Match": "*"}, data)
        self._uploaded |= {name} if status == 201 else set()
        if status not in (201, 412):
            raise OSError(f"PUT {name}: {status}")

    def settle(self, place: str) -> None:
        for mark in self._marks.glob(f"{place}~*"):
            name = mark.name.replace("~", "/")
            if self._here(name).exists():
                self.put(name, self._here(name).read_bytes())
            mark.unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        if place_of(name) == name:
            return None
        if self._mark(name).exists() and self._here(name).exists():
            return self._here(name).stat().st_size
        status, _, length = self._ask("HEAD", name)
        return length if status == 200 else None

    def read(self, name: str, *, first: int = 0, most: int | None = None) -> bytes:
        if self._mark(name).exists():
            return self._here(name).read_bytes()[first:][:most]
        last = "" if most is None else str(first + most - 1)
        status, data, _ = self._ask("GET", name, {"Range": f"bytes={first}-{last}"})
        if status == 404:
            raise FileNotFoundError(name)
        return data if status == 206 else b""

    def local(self, name: str) -> Path:
        path = self._here(name)
        if self.size(name) is None:
            if path.is_file():  # removed from another machine
                path.unlink(missing_ok=True)
        elif not path.exists():
            atomic.write_bytes(path, self.read(name))
            if self.size(name) is None:  # removed meanwhile
                path.unlink(missing_ok=True)
        return path

    def gathered(self, names: Iterable[str]) -> Path:
        for name in names:
            self.local(name)
        return self._cache

    def listed(self, place: str) -> Iterator[BlobEntry]:
        _, data, _ = self._ask("GET", f"?place={place}")
        entries = {name: BlobEntry(name, size, at) for name, size, at in json.loads(data)}
        for mark in self._marks.glob(f"{place}~*"):
            found = self._here(name := mark.name.replace("~", "/")).stat()
            entries.setdefault(name, BlobEntry(name, found.st_size, found.st_mtime))
        return iter(entries.values())

    def remove(self, names: Iterable[str]) -> frozenset[str]:
        for name in names:
            self._mark(name).unlink(missing_ok=True)
            status, _, _ = self._ask("DELETE", name)
            if status not in (204, 404):
                raise OSError(f"DELETE {name}: {status}")
            self._here(name).unlink(missing_ok=True)
        return frozenset()

    def withdraw(self, name: str, target: Path) -> None:
        atomic.write_bytes(target, self.read(name))
        self.remove([name])

    def _here(self, name: str) -> Path:
        path = self._cache / name
        path.parent.mkdir(exist_ok=True)
        return path

    def _mark(self, name: str) -> Path:
        return self._marks / name.replace("/", "~")

    def _ask(
        self, method: str, name: str, headers: dict[str, str] | None = None, data: bytes = b""
    ) -> tuple[int, bytes, int]:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request(method, f"/{name}", data or None, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), int(answer.headers["Content-Length"] or 0)
        except http.client.HTTPException as error:
            raise OSError(f"{method} {name}: {error}") from error
        finally:
            connection.close()
