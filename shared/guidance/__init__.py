"""One guidance turn: what follows from a picture, a sound, an answer of the model, or the end of an utterance.

    turn(state, event, now_s) → (state, actions)

Pure. The device's guiding thread (device.guidance.loop) and the evaluation (server.evaluation.drive) both drive it, so
what is measured is what a device does. Running the model, speaking, clocks and threads stay with the caller, who
carries the actions out in order and answers `LookNow` with `Observed` or policy.LookFailed, and `WordNow` with
`Phrased`.

What it promises:

- Each picture is first asked about the lens (shared.lens): from one that shows nothing (black, blank, the same as
  before) no guidance comes.
- By setting, a picture that did not change is not looked at, for half a second at most and while nothing is there
  (unchanged). Lens, sound and the camera's own turn are followed all the same.
- Sirens and horns are listened for (street_sounds), whatever the model makes of sound.
- A look takes along the last SOUND_S of sound and the look before it, where that is no older than BEFORE_S.
- A look is worded where the policy asks for it, and once in each chunk, at its middle, unless something is being said;
  without a hazard head only the decoder can see anything, so every look is worded.
- Every sentence passes shared.monitor: what it stops becomes an earcon and a flagged moment, and to the policy the
  utterance is over.
"""
