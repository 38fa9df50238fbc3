"""The recogniser in a process of its own, from outside: started at the first sound, asked, killed where it hangs.

A sound that ends the process, or on which it hangs, is tried once more in a new one, and is a MediaError then: it waits
for a person and holds nothing up. The process stays for the next sound, since loading costs more than listening.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict

from server.speech.requests import (
    CONFIG,
    MEDIA,
    MOST_BYTES,
    MOST_LINE_BYTES,
    RecogniserOptions,
    SightQuestion,
    SoundAnswer,
    SoundQuestion,
    line,
)
from shared import strict
from shared.clock import Clock
from shared.errors import ConfigError, MediaError, MessageError, Transient
from shared.speech import Transcript

logger = logging.getLogger(__name__)

MOST_S = 120.0  # a correction takes 2.5 s of a core; a busy machine may need ten times that, and more
LOADING_S = 300.0  # more for the first sound of a process: it takes 10 s of a core
TRIES = 2
CHILD = (sys.executable, "-m", "server.speech.child")
_BLOCK = 65536


class ApartTranscriber:
    """Transcriber in another process. Safe from any thread, one sound at a time; its owner calls `close`."""

    def __init__(
        self,
        options: RecogniserOptions,
        clock: Clock,
        *,
        most_s: float = MOST_S,
        loading_s: float = LOADING_S,
        command: Sequence[str] = CHILD,
    ) -> None:
        """most_s: for one sound; then the process is killed. The first of each process may take loading_s more"""
        self._options, self._clock, self._command = options, clock, tuple(command)
        self._most_s, self._loading_s, self._loaded = most_s, loading_s, False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def transcribe(self, wav: bytes) -> Transcript:
        """Raises: MediaError where `wav` is no sound, or ended the process twice; ConfigError; Transient if closed."""
        return self.ask(wav, None).transcript

    def ask(self, wav: bytes, sight: SightQuestion | None) -> SoundAnswer:
        """What is heard in a sound and seen in a picture. Raises: as `transcribe`."""
        if len(wav) > MOST_BYTES:
            raise MediaError(f"The sound has {len(wav)} bytes, and may have {MOST_BYTES}.")
        with self._lock:
            answer = self._tried(line(SoundQuestion(len(wav), sight)) + wav)
        if answer.failed == MEDIA:
            raise MediaError(answer.why)
        if answer.failed == CONFIG:
            raise ConfigError(answer.why, hint=answer.hint)
        return answer

    @property
    def pid(self) -> int | None:
        """Of the process, None where there is none."""
        process = self._process
        return None if process is None else process.pid

    def close(self) -> None:
        """End the process, whatever it does. Nothing is asked any more."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # who is asking comes back with an error
        with self._lock:
            self._end()

    def _tried(self, question: bytes) -> SoundAnswer:
        for number in range(TRIES):
            if self._closed:
                raise Transient("Nobody listens any more.")
            try:
                return self._answered(question)
            except (OSError, MessageError) as error:
                status = self._end()
                if self._closed:  # it was ended: the sound is not to blame, and waits for the next start
                    raise Transient("Nobody listens any more.") from error
                logger.warning("The recogniser's process failed on a sound (%s, status %s).", error, status)
                if number == TRIES - 1:
                    raise MediaError(f"The recogniser failed {TRIES} times on this sound ({error}).") from error
        raise AssertionError("unreachable")

    def _answered(self, question: bytes) -> SoundAnswer:
        """Raises: OSError where the process cannot be started, ends or takes too long; MessageError."""
        own = self._opened()
        most_s = self._most_s + (0.0 if self._loaded else self._loading_s)
        until_s = self._clock.monotonic_s() + most_s
        own.settimeout(most_s)
        own.sendall(question)
        answer = b""
        while not answer.endswith(b"\n"):
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0 or len(answer) > MOST_LINE_BYTES:
                raise TimeoutError(f"no answer within {most_s:g} s")
            own.settimeout(left_s)
            block = own.recv(_BLOCK)
            if not block:
                raise ConnectionResetError("it ended")
            answer += block
        self._loaded = True
        return strict.decode(SoundAnswer, answer, limit=MOST_LINE_BYTES + _BLOCK)

    def _opened(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._end()
        self._loaded = False
        own, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [*self._command, json.dumps(asdict(self._options))],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
            )
        self._socket = own
        return own

    def _end(self) -> int | None:
        """Its exit status, None where there was none."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        return process.wait()
