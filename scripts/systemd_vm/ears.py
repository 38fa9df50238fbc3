"""What a listener makes of a recording: which of the known sounds is heard, and when.

Each known sound (a sentence as the machine's own espeak-ng renders it, a pattern of tones) is laid over the recording
at every place, piece by piece: a piece may come a little late, because a sound card that had nothing to play for a
moment stutters. The sound that explains most of what is there was heard; what none explains is reported as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

RATE_HZ = 4000
"""At which sounds are compared: the vowels, which lie below 2 kHz, tell our sentences apart."""
ALIKE = 0.6
"""Normalised correlation above which a sound was heard, over all its pieces."""
PIECES_S = (0.2, 0.1)
"""Both are tried: the long ones are surer, the short ones bear more stutter."""
LATER_S, EARLIER_S = 0.09, 0.01
"""How much later or earlier than the piece before it says a piece may come."""
LIKENESS_COUNTS = 6
"""Power of the likeness by which energy counts as explained: a longer sentence that begins alike must not win."""
QUIET = 0.01  # of full scale
PAUSE_S = 0.4  # between two utterances
SHORTEST_S = 0.25  # of a sound that is reported though nothing explains it

NOWHERE = -1e9

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """at_s: of its first sample, from the beginning of the recording."""

    at_s: float
    ends_s: float
    text: str
    """"" = a sound that is none of the known ones."""
    alike: float = 0.0


def listen(recording: Sound, known: Mapping[str, Sound]) -> list[Heard]:
    """In order of time. recording, known: float32 [n] at RATE_HZ, -1..1; known by what it means."""
    heard: list[Heard] = []
    for first, last in _loud(recording):
        heard += _explained(recording[first:last], first, known)
    return sorted(heard, key=lambda sound: sound.at_s)


def _loud(recording: Sound) -> list[tuple[int, int]]:
    """(first, last) sample of each stretch with sound in it, pauses shorter than PAUSE_S included."""
    loud = np.flatnonzero(np.abs(recording) > QUIET)
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_S * RATE_HZ)
    firsts = [loud[0], *loud[breaks + 1]]
    lasts = [*loud[breaks], loud[-1]]
    margin = RATE_HZ // 20
    return [(max(0, int(a) - margin), int(b) + margin) for a, b in zip(firsts, lasts, strict=True)]


def _explained(stretch: Sound, offset: int, known: Mapping[str, Sound]) -> list[Heard]:
    """The sound that explains most, then what explains most of what is left before and behind it, and so on."""
    if stretch.size < SHORTEST_S * RATE_HZ / 5:
        return []
    place, best_energy, best = _Stretch(stretch), 0.0, None
    for text, sound in known.items():
        found = place.where(sound)
        if found is not None and found[1] >= ALIKE and found[2] > best_energy:
            best_energy, best = found[2], (found[0], sound.size, text, found[1])
    if best is None:
        seconds = float(np.count_nonzero(np.abs(stretch) > QUIET)) / RATE_HZ
        return [Heard(offset / RATE_HZ, (offset + stretch.size) / RATE_HZ, "")] if seconds >= SHORTEST_S / 2 else []
    at, size, text, alike = best
    here = Heard((offset + at) / RATE_HZ, (offset + at + size) / RATE_HZ, text, alike)
    before = _explained(stretch[: max(0, at)], offset, known)
    after = _explained(stretch[at + size :], offset + at + size, known)
    return [*before, here, *after]


class _Stretch:
    """Sound without a pause in it, and where known sounds fit."""

    def __init__(self, samples: Sound) -> None:
        self._size = samples.size
        longest = int(2 * max(PIECES_S) * RATE_HZ)
        self._fft_size = 1 << (samples.size + longest).bit_length()
        self._spectrum = np.fft.rfft(samples, self._fft_size)
        padded = np.pad(samples, (0, longest)).astype(np.float64)
        self._energy = np.concatenate([[0.0], np.cumsum(padded**2)])

    def where(self, sound: Sound) -> tuple[int, float, float] | None:
        """(sample, likeness 0..1, explained energy) of the best place for a sound; None = nowhere."""
        found = [place for piece_s in PIECES_S if (place := self._where(sound, piece_s)) is not None]
        return max(found, key=lambda place: place[1], default=None)

    def _where(self, sound: Sound, piece_s: float) -> tuple[int, float, float] | None:
        parts = _pieces(sound, int(piece_s * RATE_HZ))
        if sound.size > self._size + parts[0].size or not sound.any():
            return None
        weights = [float(np.sum(part.astype(np.float64) ** 2)) for part in parts]
        score, scores = np.zeros(self._size), []
        if self._likeness(parts[weights.index(max(weights))]).max() < ALIKE:  # the loudest piece is nowhere
            return None
        for number, part in enumerate(parts):
            score = weights[number] * self._likeness(part) + (_moved(score, parts[number - 1].size) if number else 0.0)
            scores.append(score)
        end = int(score.argmax())
        at = _first(scores, [part.size for part in parts], end)
        alike = max(0.0, float(score[end]) / sum(weights))
        last = min(self._size, end + parts[-1].size)
        return at, alike, alike**LIKENESS_COUNTS * float(self._energy[last] - self._energy[at])

    def _likeness(self, part: Sound) -> NDArray[np.float64]:
        """Normalised correlation of a piece with the stretch, by where the piece begins."""
        spectrum = np.conj(np.fft.rfft(part, self._fft_size))
        product = np.fft.irfft(self._spectrum * spectrum, self._fft_size)[: self._size]
        under = self._energy[part.size : part.size + self._size] - self._energy[: self._size]
        least = (QUIET / 4) ** 2 * part.size
        ours = max(float(np.sum(part**2)), 1e-9)
        alike: NDArray[np.float64] = product / np.sqrt(np.maximum(under, least) * ours)
        return alike.clip(-1.0, 1.0)


def _pieces(sound: Sound, piece: int) -> list[Sound]:
    pieces = [sound[at : at + piece] for at in range(0, sound.size, piece)]
    if len(pieces) > 1 and pieces[-1].size < piece // 2:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces


def _moved(score: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """For each place of the next piece: the best score of the one before it, `size` samples earlier or so."""
    earlier, later = int(EARLIER_S * RATE_HZ), int(LATER_S * RATE_HZ)
    best: NDArray[np.float64] = maximum_filter1d(
        score, earlier + later + 1, origin=(later - earlier) // 2, mode="constant", cval=NOWHERE
    )
    return np.concatenate([np.full(size, NOWHERE), best])[: score.size]


def _first(scores: list[NDArray[np.float64]], sizes: list[int], end: int) -> int:
    """Where the first piece lies when the last lies at `end`: from piece to piece back."""
    earlier, later = int(EARLIER_S * RATE_HZ), int(LATER_S * RATE_HZ)
    at = end
    for number in range(len(scores) - 2, -1, -1):
        meant = at - sizes[number]
        low, high = max(0, meant - later), max(1, meant + earlier + 1)
        at = low + int(scores[number][low:high].argmax())
    return at
