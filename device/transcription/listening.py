"""One correction through the recogniser's process, from outside: started, waited for, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared import languages, strict
from shared.clock import Clock
from shared.errors import ConfigError, MediaError, MessageError
from shared.messages import Share
from shared.speech import acoustic
from shared.strict import Number, Text

MOST_S = 30.0  # it takes 0.9 s of an x86 core: a board that has not that much to spare leaves it to the server
POLL_S = 0.2
MOST_ANSWER_BYTES = 16 * 1024
RECOGNISER = "pocketsphinx"
CHILD = (sys.executable, "-m", "device.transcription.child")


@dataclass(frozen=True, slots=True)
class ListenResult:
    """What the process printed."""

    text: Text
    """Word for word, in the wearer's language."""
    meaning: Text
    """The vocabulary's sentence; "" = not understood, or not sure."""
    confidence: Share
    processor_s: Number = 0.0
    memory_mb: Number = 0.0


@dataclass(frozen=True, slots=True)
class ListenPlan:
    """How to listen."""

    language: str = "en"
    """Its code."""
    languages: str = ""
    """Folder with own ones; "" = those that come along."""
    model: str = ""
    """Folder with an acoustic model and a dictionary, for another language than English."""
    command: tuple[str, ...] = CHILD
    most_s: float = MOST_S

    def check(self) -> None:
        """What can be seen without loading a recogniser. Raises: ConfigError."""
        if not acoustic.is_installed():
            raise ConfigError("pocketsphinx is not installed.", hint=acoustic.INSTALL_HINT)
        acoustic.files_for(languages.load(self.language, _folder(self.languages)), self.model)


def listen(wav: bytes, plan: ListenPlan, clock: Clock, *, may_go_on: Callable[[], bool]) -> ListenResult | None:
    """What was heard; None = may_go_on said no. wav: b"" = only load the recogniser.

    raises: MediaError where the process failed, was killed, or took longer than plan.most_s; OSError where it cannot be
    started
    """
    options = {"language": plan.language, "languages": plan.languages, "model": plan.model}
    with (
        _in_memory(wav) as sound,
        subprocess.Popen(
            [*plan.command, json.dumps(options)],
            env=_environment(),
            stdin=sound,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        try:
            out, err = _waited(process, clock.monotonic_s() + plan.most_s, clock, may_go_on)
        finally:
            process.kill()
    if out is None:
        return None
    if process.returncode != 0:
        said = err.decode(errors="replace").strip().splitlines()
        how = f"by signal {-process.returncode}" if process.returncode < 0 else f"with status {process.returncode}"
        raise MediaError(said[-1] if said else f"The recogniser's process was ended {how}.")
    try:
        return strict.decode(ListenResult, out, limit=MOST_ANSWER_BYTES)
    except MessageError as error:
        raise MediaError(f"The recogniser's process answered something else: {error}") from error


@contextlib.contextmanager
def _in_memory(wav: bytes) -> Iterator[BinaryIO]:
    """A file that is on no disk. Not a pipe: what does not fit into one is lost when `communicate` is called again."""
    with open(os.memfd_create("correction"), "w+b") as sound:
        sound.write(wav)
        sound.seek(0)
        yield sound


def _waited(
    process: subprocess.Popen[bytes], until_s: float, clock: Clock, may_go_on: Callable[[], bool]
) -> tuple[bytes | None, bytes]:
    """(stdout, stderr); (None, b"") = it is not to go on. Raises: MediaError."""
    while may_go_on():
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=POLL_S)
        if clock.monotonic_s() >= until_s:
            raise MediaError("The recogniser's process did not come to an end.")
    return None, b""


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _folder(name: str) -> Path | None:
    return Path(name).expanduser() if name else None
