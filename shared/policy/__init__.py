"""The speech policy: when to speak, and what.

Pure: `step(state, event, now_s, settings) -> (state, actions)`. The device runs it live, the gate runs it on held-out
walks. Time is whatever the caller's clock says, as long as it never goes back.

What it promises:

 1. Silence is the default. Guidance is spoken only where the vocabulary's table has the sentence, whoever asks for it;
    news about the device never gives an order to walk on, nor promises safety (`shared.monitor` checks both again).
 2. A tier-1 hazard ahead goes out at once as its fixed phrase when its score is high; when it is merely above the
    threshold it must be seen in 2 of the last 3 looks, like everything of tiers 2 and 3.
 3. Tiers 2 and 3 are worded by the decoder (`WordIt`), and only when the words could be spoken now.
 4. The same (object, side, tier) is not said twice within 10 s. After that a hazard that never left is said again only
    if it is of tier 1 and nearer; one that was gone is a new one. A second thing to stop for need not wait that long
    (docs/adr/0031): once the first was out of sight for 1.5 s and several looks, the next one is warned of.
 5. One utterance at a time. A higher tier cuts a lower one, in the same step; an equal or lower one does not.
 6. Tiers 2 and 3 share a budget of words a minute. Nothing is said about an old picture, warnings included. While a
    siren, a horn or near traffic is heard tier 3 is cut and held back, and all but warnings is quieter (`Duck`).
 7. State changes (camera, guidance, link, storage, …) are always spoken: they wait, and are dropped only for a newer
    one about the same thing, so that what was said last about a thing is true. What nobody could hear because the
    sound output was gone is said again. A camera that shows nothing (covered, dark, overexposed, frozen) is announced
    within 3 s, and said again every half minute while it lasts: silence must never mean "clear".
 8. "Path is clear", in any wording, only when `say_clear` is on, on sustained evidence, and rarely.
 9. Below the thresholds it does not guess: it says that it is not sure, where to check, and flags the moment. When
    most wordings are unsure, that is announced as a state of its own.
10. What a wearer sets (verbosity, lead, confirmations, tick) never delays or silences a warning.
11. What the wearer asks is answered at once with one line, muted or not; only a warning goes before, and a tick then
    says that the question was understood. "What is ahead?" is answered from the newest look when the answer begins, in
    the table's words, and never with a clear way.

Nearness: the hazard head gives no distance; a thing that fills more of the picture scores higher, so a risen score
stands for "nearer".
"""

from shared.policy.ahead import AHEAD_TEXTS as AHEAD_TEXTS
from shared.policy.decide import step as step
from shared.policy.kinds import BLINDING as BLINDING
from shared.policy.kinds import CAMERA as CAMERA
from shared.policy.kinds import CAMERA_BACK as CAMERA_BACK
from shared.policy.kinds import CAMERA_ON_SIDE as CAMERA_ON_SIDE
from shared.policy.kinds import CAMERA_TILTED as CAMERA_TILTED
from shared.policy.kinds import CAMERA_UPSIDE_DOWN as CAMERA_UPSIDE_DOWN
from shared.policy.kinds import GUIDANCE as GUIDANCE
from shared.policy.kinds import GUIDING as GUIDING
from shared.policy.kinds import HEARD as HEARD
from shared.policy.kinds import HEARD_TEXTS as HEARD_TEXTS
from shared.policy.kinds import LENS_TEXTS as LENS_TEXTS
from shared.policy.kinds import MOUNTING as MOUNTING
from shared.policy.kinds import MOUNTING_TEXTS as MOUNTING_TEXTS
from shared.policy.kinds import NOT_SURE as NOT_SURE
from shared.policy.kinds import PAUSED as PAUSED
from shared.policy.kinds import RESUMED as RESUMED
from shared.policy.kinds import STATE_TEXTS as STATE_TEXTS
from shared.policy.kinds import VOICE as VOICE
from shared.policy.kinds import VOICE_BACK as VOICE_BACK
from shared.policy.kinds import Action as Action
from shared.policy.kinds import AheadAsked as AheadAsked
from shared.policy.kinds import Beat as Beat
from shared.policy.kinds import CorrectionListening as CorrectionListening
from shared.policy.kinds import Cut as Cut
from shared.policy.kinds import Duck as Duck
from shared.policy.kinds import Event as Event
from shared.policy.kinds import Flag as Flag
from shared.policy.kinds import Key as Key
from shared.policy.kinds import Looked as Looked
from shared.policy.kinds import LookFailed as LookFailed
from shared.policy.kinds import MuteToggled as MuteToggled
from shared.policy.kinds import Note as Note
from shared.policy.kinds import PolicySettings as PolicySettings
from shared.policy.kinds import PolicyState as PolicyState
from shared.policy.kinds import RepeatAsked as RepeatAsked
from shared.policy.kinds import SoundHeard as SoundHeard
from shared.policy.kinds import Speak as Speak
from shared.policy.kinds import SpeechEnded as SpeechEnded
from shared.policy.kinds import StateChange as StateChange
from shared.policy.kinds import TimePassed as TimePassed
from shared.policy.kinds import Viewed as Viewed
from shared.policy.kinds import VoiceFound as VoiceFound
from shared.policy.kinds import VoiceLost as VoiceLost
from shared.policy.kinds import WalkBegan as WalkBegan
from shared.policy.kinds import WalkEnded as WalkEnded
from shared.policy.kinds import Worded as Worded
from shared.policy.kinds import WordIt as WordIt
from shared.policy.kinds import WordsHeard as WordsHeard
from shared.policy.kinds import calibrated as calibrated
