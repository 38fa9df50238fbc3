"""One guidance turn: what follows from a picture, a sound, an answer of the model, or the end of an utterance.

    turn(state, event, now_s) → (state, actions)

Pure. The device's guiding thread (device.guidance.loop) and the evaluation (server.evaluation.drive) both drive it, so
what is measured is what a device does. Running the model, speaking, clocks and threads stay with the caller, who
carries the actions out in order and answers `LookNow` with `Observed` or policy.LookFailed, and `WordNow` with
`Phrased`.

What it promises:

- Each picture is first asked about the lens (shared.lens): from one that shows nothing (black, blank, the same as
  before) no guidance comes.
- Sirens and horns are listened for (street_sounds), whatever the model makes of sound.
- A look takes along the last SOUND_S of sound and the look before it, where that is no older than BEFORE_S.
- A look is worded where the policy asks for it, and once in each chunk, at its middle, unless something is being said;
  without a hazard head only the decoder can see anything, so every look is worded.
- Every sentence passes shared.monitor: what it stops becomes an earcon and a flagged moment, and to the policy the
  utterance is over.
"""

from shared.guidance.events import BEFORE_S as BEFORE_S
from shared.guidance.events import SOUND_S as SOUND_S
from shared.guidance.events import FlagMoment as FlagMoment
from shared.guidance.events import GuidanceAction as GuidanceAction
from shared.guidance.events import GuidanceEvent as GuidanceEvent
from shared.guidance.events import LoadedModel as LoadedModel
from shared.guidance.events import LookNow as LookNow
from shared.guidance.events import LookSooner as LookSooner
from shared.guidance.events import ModelChanged as ModelChanged
from shared.guidance.events import Observed as Observed
from shared.guidance.events import Phrased as Phrased
from shared.guidance.events import PictureTaken as PictureTaken
from shared.guidance.events import PlayEarcon as PlayEarcon
from shared.guidance.events import SayNow as SayNow
from shared.guidance.events import SoundTaken as SoundTaken
from shared.guidance.events import Withhold as Withhold
from shared.guidance.events import WordNow as WordNow
from shared.guidance.turn import GuidanceState as GuidanceState
from shared.guidance.turn import turn as turn
