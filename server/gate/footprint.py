"""What a bundle takes in a process of its own: `python -m server.gate.footprint BUNDLE THREADS` prints JSON.

The device's own runtime and nothing else is loaded, so the peak is about that of guidance on a device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LOOKS = 3
SIZE = (480, 640, 3)
LIMIT_S = 120.0


def peak_mb(bundle: Path, *, threads: int) -> float:
    """Peak memory of a child process that loads the bundle and looks; 0 where that cannot be measured."""
    command = [sys.executable, "-m", __name__, str(bundle), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=True, env=os.environ)
        return round(float(json.loads(done.stdout)["peak_mb"]), 1)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return 0.0


def main(arguments: list[str]) -> None:
    """In the child."""
    import numpy as np

    from shared.runtime import GuidanceModel

    model = GuidanceModel.load(Path(arguments[0]), threads=int(arguments[1]), allow_demo=True)
    picture = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    for _ in range(LOOKS):
        model.word(model.look(picture))
    print(json.dumps({"peak_mb": _peak_kib() * 1024 / 1e6}))


def _peak_kib() -> int:
    """Not getrusage: its peak is also that of the process which started this one, until exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(sys.argv[1:])
