"""Ears for a page that nobody sees: they follow what its one player gives out, and write down what was played."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from server.voice import speech
from shared.wav import decode_sound
from tests.server.web.browsing import CHROMIUM

HEAR_MS = 60_000
FASTEST = 6
"""Presses of + from the first speed to the last: three times as fast."""
needs_ears = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("espeak-ng") is None, reason="Chromium or espeak-ng is not installed"
)
EARS = """
// Taps the one player and keeps what comes out of it; every page is dark from the beginning.
window.heard = [];
addEventListener('DOMContentLoaded', () => {
  const dark = new CSSStyleSheet();
  dark.replaceSync('* { color: black !important; background: black !important; }');
  document.adoptedStyleSheets = [dark];
  const player = document.getElementById('ear-player');
  if (!player) return;
  const context = new AudioContext({ sampleRate: 16000 });
  const tap = context.createScriptProcessor(4096, 1, 1);
  context.createMediaElementSource(player).connect(tap);
  tap.connect(context.destination);
  tap.onaudioprocess = (event) => {
    const last = window.heard[window.heard.length - 1];
    const loudest = event.inputBuffer.getChannelData(0).reduce((most, one) => Math.max(most, Math.abs(one)), 0);
    if (last && !player.paused) last.peak = Math.max(last.peak, loudest);
  };
  player.addEventListener('playing', () => {
    context.resume();
    const address = new URL(player.currentSrc).pathname;
    const last = window.heard[window.heard.length - 1];
    if (!last || last.address !== address || last.ended) window.heard.push({ address, peak: 0, ended: false });
  });
  player.addEventListener('ended', () => { window.heard[window.heard.length - 1].ended = true; });
});
"""
_BYTES = """async (address) => {
    const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
    return btoa(bytes.reduce((text, one) => text + String.fromCharCode(one), ''));
}"""


def understood(samples: NDArray[np.float32], grammar: str) -> str:
    """What the embedded recogniser hears in it, "" = nothing that the grammar (JSGF) has."""
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", beam=1e-60, wbeam=1e-40)  # each forgets what was before
    decoder.add_jsgf_string("ear", grammar)
    decoder.activate_search("ear")
    quiet = np.random.default_rng(0).normal(0, 20, 8000).astype(np.int16)
    sound = (samples.clip(-1, 1) * 32767).astype(np.int16)
    decoder.start_utt()
    decoder.process_raw(np.concatenate([quiet, sound, quiet]).tobytes(), full_utt=True)
    decoder.end_utt()
    return "" if decoder.hyp() is None else str(decoder.hyp().hypstr)


@cache
def voiced(text: str) -> bytes:
    """The WAV of a sentence by the server's voice: whoever knows the sentence knows its sound."""
    return speech.rendered(speech.sayable(text))


@dataclass(frozen=True)
class HeardPart:
    """One piece of sound that the player gave out."""

    address: str
    wav: bytes
    grammar: str

    @property
    def is_media(self) -> bool:
        """A sound of the dataset, not of the voice."""
        return self.address.startswith("/media/")

    @cached_property
    def words(self) -> str:
        """As the recogniser writes them down."""
        return understood(decode_sound(self.wav), self.grammar)

    def says(self, text: str) -> bool:
        """Whether it is this sentence, sound for sound."""
        return self.wav == voiced(text)


@dataclass
class Ears:
    """What is heard on a page with EARS, one part after the other."""

    page: Page
    grammar: str
    heard: int = field(default=0, init=False)

    def next(self, *, to_end: bool = False) -> HeardPart:
        """The next part, once the player has given out more than a second of it or all. to_end: all of it"""
        at, enough = self.heard, "false" if to_end else "document.getElementById('ear-player').currentTime > 1.1"
        self.page.wait_for_function(
            f"() => heard.length > {at + 1} || (heard[{at}] && (heard[{at}].ended || {enough}))", timeout=HEAR_MS
        )
        self.heard += 1
        address = str(self.page.evaluate(f"heard[{at}].address"))
        return HeardPart(address, base64.b64decode(self.page.evaluate(_BYTES, address)), self.grammar)

    def loudness(self) -> list[float]:
        """The greatest amplitude that came out of the player during each part that was heard to its end."""
        peaks = "heard.filter((part) => part.ended).map((part) => part.peak)"
        return [float(peak) for peak in self.page.evaluate(peaks)]
