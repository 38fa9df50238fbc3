"""The recogniser's process: `python -m server.speech.child OPTIONS`, with a socket as stdin.

Started by server.speech.apart, never by hand. A process of its own, because a recogniser holds Python's lock for
seconds, in which the page, the ingest and the offers would stand still. It has a low priority, is the first to be
killed for memory, and may be killed at any moment: it keeps nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from io import BufferedRWPair

from shared.child_process import die_with_parent, stand_back

NICER = 10
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(argv: list[str]) -> int:
    """Answer questions until the server closes the socket."""
    stand_back(NICER)
    die_with_parent()
    for name in _THREADS:
        os.environ.setdefault(name, "1")  # before numpy and torch are imported
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # of a terminal go to the whole group
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as own, own.makefile("rwb") as stream:
        _answer_all(json.loads(argv[0]), stream)
    return 0


def _answer_all(options: dict[str, str], stream: BufferedRWPair) -> None:
    from server.speech.answering import SoundAnswerer
    from server.speech.requests import MOST_LINE_BYTES, RecogniserOptions, SoundQuestion, line
    from shared import strict

    ear = SoundAnswerer(RecogniserOptions(**options))
    while question := stream.readline(MOST_LINE_BYTES):
        asked = strict.decode(SoundQuestion, question, limit=MOST_LINE_BYTES)
        stream.write(line(ear.answer(asked, stream.read(asked.size_bytes))))
        stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
