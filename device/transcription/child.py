"""Listens to one correction: `python -m device.transcription.child OPTIONS < correction.wav > words.json`.

Started by device.transcription.listening. A process of its own, because a recogniser takes 80 MB, keeps a core busy,
and ends its process over a torn model. It has a low priority, and is the first to be killed for memory. Without a sound
it only loads the recogniser. Exit status 3: a reason stands on stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path

MOST_BYTES = 4 * 1024 * 1024  # two minutes; a correction has 28 s at most
MOST_DATA_BYTES = 512 * 1024**2  # English takes 80 MB
MOST_PROCESSOR_S = 60
REFUSED = 3
NICER = 10  # than the agent: where that keeps a core busy, a tenth of it is left. A hundredth would come too late


def main(argv: list[str]) -> int:
    _stand_back()
    from device.capture.worker_main import die_with_parent
    from shared.errors import WaycueError

    die_with_parent()
    try:
        words = _words(json.loads(argv[0]), sys.stdin.buffer.read(MOST_BYTES))
    except WaycueError as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(json.dumps(words))
    return 0


def _stand_back() -> None:
    """Before anything large is imported: whatever guides comes first."""
    os.nice(NICER)
    with contextlib.suppress(OSError):  # not in every sandbox
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_PROCESSOR_S, MOST_PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _words(options: dict[str, str], wav: bytes) -> dict[str, object]:
    """The fields of device.transcription.listening.ListenResult."""
    from shared import languages
    from shared.speech import NOTHING, acoustic, proposal
    from shared.speech.sphinx import PocketsphinxTranscriber

    own = options["languages"]
    language = languages.load(options["language"], Path(own) if own else None)
    transcriber = PocketsphinxTranscriber(language, acoustic.files_for(language, options["model"]))
    transcriber.open()
    heard = transcriber.transcribe(wav) if wav else NOTHING
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "text": heard.text,
        "meaning": proposal(heard, language),
        "confidence": heard.confidence,
        "processor_s": round(used.ru_utime + used.ru_stime, 3),
        "memory_mb": round(used.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
