"""espeak-ng as a program: text → WAV. Never linked: it is GPL-3, waycue is Apache-2.0.

text → stdin of `espeak-ng --stdin --stdout` → WAV
"""

from __future__ import annotations

import subprocess

from shared.errors import MediaError

PROGRAM = "espeak-ng"
TIMEOUT_S = 5.0  # a phrase takes 10 ms on a PC and 60 ms on a Pi 4
INSTALL = "Install it: sudo apt install espeak-ng."


def spoken_wav(text: str, *, voice: str, words_per_minute: int, program: str = PROGRAM) -> bytes:
    """Speech for `text` as espeak-ng writes it; the sizes in its header are not to be believed. Raises: MediaError."""
    arguments = ["-v", voice, "-s", str(words_per_minute), "-b", "1", "--stdin", "--stdout"]
    return run(arguments, text.encode(), voice=voice, program=program)


def run(arguments: list[str], stdin: bytes, *, voice: str, program: str = PROGRAM) -> bytes:
    """What the program writes. Raises: MediaError where it is missing, fails or gives no answer in time."""
    try:
        done = subprocess.run([program, *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S, check=True)
    except FileNotFoundError:
        raise MediaError(f"The speech program {program} is not installed.", hint=INSTALL) from None
    except subprocess.TimeoutExpired:
        raise MediaError(f"{program} gave no answer within {TIMEOUT_S:.0f} s.") from None
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        hint = f"Is there a voice {voice!r} (voice.language)? `{program} --voices` lists them."
        raise MediaError(f"{program} failed: {said.decode(errors='replace').strip()[:200]}", hint=hint) from None
    return done.stdout
