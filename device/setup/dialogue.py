"""The dialogue of the set-up, as a pure function: what was seen, answered or pressed → what is said and done next.

Promises:

1. Codes are read while the device is not enrolled, or after a press that opened the set-up, and at no other time. Of an
   enrolled device the set-up closes by itself after OPEN_S.
2. A code for another server or another name than the device has is used after a press only.
3. Nothing ends it but success or a person: what failed for a while is tried again every AGAIN_S, for ever, and what the
   wearer has to do is said once and again every AGAIN_S.
4. A code that failed for good is not tried again before AGAIN_S, however long it is held before the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from device.setup import texts
from device.setup.kinds import (
    CodeSeen,
    CodeTrouble,
    Done,
    Enrol,
    Enrolled,
    EnrolTrouble,
    FindServers,
    Join,
    Joined,
    JoinTrouble,
    LetIn,
    NotJoined,
    NotLetIn,
    OtherSeen,
    Pressed,
    Restart,
    Say,
    ServersFound,
    SetupAction,
    SetupEvent,
    SetupPhase,
    SetupPress,
    SetupState,
    SpeechBegan,
    TimePassed,
    Watched,
)
from shared.setup_code import SetupCode, WifiNetwork

Step = tuple[SetupState, tuple[SetupAction, ...]]

AGAIN_S = 30.0
OPEN_S = 300.0  # of the set-up of an enrolled device
CONFIRM_S = 60.0
TORN_AFTER_S = 3.0  # a code that is being moved into the picture is torn for a moment
TORN_GAP_S = 2.0
LAST_WORDS_S = 6.0  # before the restart, where nothing tells when they are over
ANSWER_S = 120.0  # for a network or a server: twice what the slowest of them is given
PAUSE_S = 0.7  # between lines of the tutorial
LINE_S = 20.0  # after this a line of the tutorial counts as said: a dead voice must not keep it open
ASKED_AGAIN_S = 15.0  # how long after its end the tutorial can be had again

CODE_TEXTS = {
    CodeTrouble.FOREIGN: texts.FOREIGN,
    CodeTrouble.BAD_NETWORK: texts.BAD_NETWORK,
    CodeTrouble.SEVERAL: texts.SEVERAL,
    CodeTrouble.TORN: texts.TORN,
}
JOIN_TEXTS = {
    JoinTrouble.PASSWORD: texts.WRONG_PASSWORD,
    JoinTrouble.NOT_FOUND: texts.NO_NETWORK,
    JoinTrouble.UNABLE: texts.CANNOT_JOIN,
    JoinTrouble.FAILED: texts.NOT_JOINED,
}
ENROL_TEXTS = {
    EnrolTrouble.REFUSED: texts.REFUSED,
    EnrolTrouble.OTHER_NAME: texts.OTHER_NAME,
    EnrolTrouble.BUSY: texts.BUSY,
    EnrolTrouble.STORAGE: texts.NO_STORAGE,
}
FOR_GOOD = frozenset((JoinTrouble.PASSWORD, EnrolTrouble.REFUSED, EnrolTrouble.OTHER_NAME))
"""Troubles that no other try with the same code mends."""


def begin(now_s: float, *, enrolled: Enrolled | None, fresh: bool, looks: bool) -> Step:
    """At a start of the agent. fresh: it was enrolled a moment ago, and was never explained; looks: read codes."""
    state = SetupState(enrolled=enrolled)
    if fresh and enrolled is not None:
        return _waiting_for(state, SetupPhase.FETCHING, texts.FETCHING, now_s)
    return _look(state, now_s) if looks else (state, ())


def step(state: SetupState, event: SetupEvent, now_s: float) -> Step:
    """now_s: monotonic. Events that mean nothing in this phase change nothing."""
    match event:
        case Pressed(press):
            return _pressed(state, press, now_s)
        case CodeSeen(code):
            return _code_seen(state, code, now_s)
        case OtherSeen(trouble):
            return _other_seen(state, trouble, now_s)
        case SpeechBegan(text, lasts_s):
            return _speech_began(state, text, lasts_s, now_s)
        case Watched():
            return _watched(state, event, now_s)
        case TimePassed():
            return _TIMES.get(state.phase, _no_time)(state, now_s)
    return _answered(state, event, now_s)


def takes(state: SetupState, press: SetupPress) -> bool:
    """Whether this press is for the set-up, and for nothing else."""
    if press is SetupPress.BEGIN:
        return True
    if state.phase in (SetupPhase.CONFIRMING, SetupPhase.TUTORIAL):
        return True
    if press is SetupPress.AGAIN:
        return state.phase is not SetupPhase.OFF
    return press is SetupPress.LONG and state.phase is SetupPhase.LOOKING and state.enrolled is not None


# --- phases -----------------------------------------------------------------------------------------------------------


def _enter(state: SetupState, phase: SetupPhase, now_s: float) -> SetupState:
    return replace(state, phase=phase, since_s=now_s, prompt="", torn_since_s=None, next_s=float("inf"))


def _waiting_for(state: SetupState, phase: SetupPhase, prompt: str, now_s: float) -> Step:
    """A phase in which something is awaited, and said again and again."""
    state = replace(_enter(state, phase, now_s), prompt=prompt, prompted_s=now_s)
    return state, (Say(prompt, about=phase),)


def _go_on(state: SetupState, phase: SetupPhase, now_s: float) -> SetupState:
    """Another phase of the same wait, in which the same is said again."""
    return replace(state, phase=phase, since_s=now_s)


def _look(state: SetupState, now_s: float) -> Step:
    state = replace(state, code=None, again_s=None, spent=None)
    return _waiting_for(state, SetupPhase.LOOKING, texts.HOLD_CODE, now_s)


def _off(state: SetupState, last: Say, now_s: float) -> Step:
    return replace(_enter(state, SetupPhase.OFF, now_s), code=None, spent=None, again_s=None), (last,)


def _reply(state: SetupState, text: str) -> Say:
    """To a press: it cuts what this phase is saying, which is not said again."""
    return Say(text, cut=True, about=state.phase)


def _back_to_looking(state: SetupState, trouble: Say, now_s: float, *, for_good: bool) -> Step:
    """After a failure: other codes are read, and this one is tried again unless that cannot help."""
    state = replace(_enter(state, SetupPhase.LOOKING, now_s), prompt=texts.HOLD_CODE, prompted_s=now_s)
    if for_good:
        state = replace(state, spent=state.code, code=None, again_s=None, told_s=now_s)
    else:
        state = replace(state, again_s=now_s + AGAIN_S, spent=None)
    return state, (trouble,)


# --- presses ----------------------------------------------------------------------------------------------------------


def _pressed(state: SetupState, press: SetupPress, now_s: float) -> Step:
    if not takes(state, press):
        return state, ()
    if press is SetupPress.BEGIN:
        return _begin_pressed(state, now_s)
    if state.phase is SetupPhase.CONFIRMING:
        return _confirmed(state, press, now_s)
    if state.phase is SetupPhase.TUTORIAL:
        return _tutorial(state, now_s) if press is SetupPress.AGAIN else _skip(state, now_s)
    if press is SetupPress.LONG:
        return _off(state, _reply(state, texts.ENDED), now_s)
    return _said_again(state, now_s)


def _begin_pressed(state: SetupState, now_s: float) -> Step:
    """Open it; where it is open at an enrolled device, close it. What is under way is not disturbed."""
    if state.phase in (SetupPhase.LOOKING, SetupPhase.CONFIRMING) and state.enrolled is not None:
        return _off(state, _reply(state, texts.ENDED), now_s)
    if state.phase is SetupPhase.TUTORIAL:
        state, ended = _skip(state, now_s)
        state, begun = _look(state, now_s)
        return state, ended + begun
    return _look(state, now_s) if state.phase in (SetupPhase.OFF, SetupPhase.FETCHING) else _said_again(state, now_s)


def _said_again(state: SetupState, now_s: float) -> Step:
    """What it waits for."""
    if not state.prompt:
        return state, ()
    return replace(state, prompted_s=now_s), (Say(state.prompt, about=state.phase),)


def _confirmed(state: SetupState, press: SetupPress, now_s: float) -> Step:
    if press is SetupPress.AGAIN:
        return _said_again(state, now_s)
    if press is SetupPress.SHORT and state.code is not None:
        answer = _reply(state, texts.CHANGING)
        state, actions = _use(state, state.code, now_s)
        return state, (answer, *actions)
    return _refuse(state, now_s)


def _refuse(state: SetupState, now_s: float) -> Step:
    return _back_to_looking(state, _reply(state, texts.UNCHANGED), now_s, for_good=True)


# --- codes ------------------------------------------------------------------------------------------------------------


def _code_seen(state: SetupState, code: SetupCode | WifiNetwork, now_s: float) -> Step:
    if not state.reads:
        return state, ()
    state = replace(state, torn_since_s=None)
    if code == state.spent and now_s - state.told_s < AGAIN_S:
        return state, ()
    if code == state.code and state.again_s is not None:
        return state, ()  # it is tried again when its time has come
    found = Say(texts.CODE_FOUND, about=state.phase)
    if _is_foreign(state.enrolled, code):
        state, actions = _waiting_for(replace(state, code=code), SetupPhase.CONFIRMING, texts.OTHER_SERVER, now_s)
    else:
        state, actions = _use(state, code, now_s)
    return state, (found, *actions)


def _is_foreign(enrolled: Enrolled | None, code: SetupCode | WifiNetwork) -> bool:
    """Whether the device would belong to somebody else."""
    if enrolled is None or isinstance(code, WifiNetwork):
        return False
    return (code.device, code.server) != (enrolled.device, enrolled.server)


def _use(state: SetupState, code: SetupCode | WifiNetwork, now_s: float) -> Step:
    network = code if isinstance(code, WifiNetwork) else code.wifi
    state = replace(state, code=code, again_s=None, spent=None, is_joined=False)
    if network is not None:
        state, said = _waiting_for(state, SetupPhase.JOINING, texts.JOINING, now_s)
        return state, (*said, Join(network))
    assert isinstance(code, SetupCode)
    return _call(state, code, now_s)


def _call(state: SetupState, code: SetupCode, now_s: float) -> Step:
    state = replace(state, again_s=None, searched=False, servers=())
    state, said = _waiting_for(state, SetupPhase.ENROLLING, texts.CALLING, now_s)
    return state, (*said, Enrol(code, code.server))


def _other_seen(state: SetupState, trouble: CodeTrouble, now_s: float) -> Step:
    if not state.reads:
        return state, ()
    if trouble is CodeTrouble.TORN:
        since_s = state.torn_since_s if now_s - state.torn_s < TORN_GAP_S else None
        state = replace(state, torn_since_s=now_s if since_s is None else since_s, torn_s=now_s)
        if since_s is None or now_s - since_s < TORN_AFTER_S:
            return state, ()
    text = CODE_TEXTS[trouble]
    if text == state.told and now_s - state.told_s < AGAIN_S:
        return state, ()
    return replace(state, told=text, told_s=now_s, prompted_s=now_s), (Say(text, about=state.phase),)


# --- answers of the network and the server ----------------------------------------------------------------------------


def _answered(state: SetupState, event: SetupEvent, now_s: float) -> Step:
    match state.phase, event:
        case SetupPhase.JOINING, Joined():
            return _joined(replace(state, is_joined=True), texts.JOINED, now_s)
        case SetupPhase.JOINING, NotJoined(trouble):
            return _not_joined(state, trouble, now_s)
        case phase, LetIn() if phase is not SetupPhase.LEAVING:  # also late: the identity is on disk, the code spent
            state = replace(_enter(state, SetupPhase.LEAVING, now_s), code=None, next_s=now_s + LAST_WORDS_S)
            return state, (Say(texts.SERVER_FOUND), Say(texts.ENROLLED))
        case SetupPhase.ENROLLING, NotLetIn(trouble):
            return _not_let_in(state, trouble, now_s)
        case SetupPhase.FINDING, ServersFound(servers):
            return _ask_next(replace(state, servers=servers), now_s)
    return state, ()


def _joined(state: SetupState, text: str, now_s: float) -> Step:
    if isinstance(state.code, SetupCode):
        state, actions = _call(state, state.code, now_s)
        return state, (Say(text), *actions)
    if state.enrolled is not None:  # the network was all that was to be changed
        return _off(state, Say(text), now_s)
    spent = state.code
    state, actions = _look(state, now_s)
    return replace(state, spent=spent, told_s=now_s), (Say(text), *actions)


def _not_joined(state: SetupState, trouble: JoinTrouble, now_s: float) -> Step:
    if trouble is JoinTrouble.UNABLE:  # by cable the server may be reached all the same
        return _joined(state, JOIN_TEXTS[trouble], now_s)
    return _back_to_looking(state, Say(JOIN_TEXTS[trouble]), now_s, for_good=trouble in FOR_GOOD)


def _not_let_in(state: SetupState, trouble: EnrolTrouble, now_s: float) -> Step:
    if trouble is EnrolTrouble.REFUSED and state.servers:  # it was found in the network, and is a neighbour's
        return _ask_next(state, now_s)
    if trouble is not EnrolTrouble.UNREACHABLE:
        # Refused by whoever answered in the network: the server that the code is from may only be off.
        for_good = trouble in FOR_GOOD and not state.searched
        return _back_to_looking(state, Say(ENROL_TEXTS[trouble]), now_s, for_good=for_good)
    if not state.searched:
        return replace(_go_on(state, SetupPhase.FINDING, now_s), searched=True), (FindServers(),)
    return _ask_next(state, now_s)


def _ask_next(state: SetupState, now_s: float) -> Step:
    """The next of the servers that were found; the code's proof tells whether it is the right one."""
    if not state.servers or not isinstance(state.code, SetupCode):
        return _back_to_looking(state, Say(texts.NO_SERVER), now_s, for_good=False)
    first, *others = state.servers
    state = replace(_go_on(state, SetupPhase.ENROLLING, now_s), servers=tuple(others))
    assert isinstance(state.code, SetupCode)
    return state, (Enrol(state.code, first),)


# --- after the restart ------------------------------------------------------------------------------------------------


def _watched(state: SetupState, seen: Watched, now_s: float) -> Step:
    if state.phase is not SetupPhase.FETCHING:
        return state, ()
    if seen.guides:
        state, actions = _tutorial(state, now_s)
        return state, (Say(texts.READY), *actions)
    waits_for = texts.NOT_ONLINE if not seen.online else texts.STILL_FETCHING if seen.fetching else texts.NO_MODEL_YET
    return replace(state, prompt=waits_for), ()


def _tutorial(state: SetupState, now_s: float) -> Step:
    return _say_line(replace(_enter(state, SetupPhase.TUTORIAL, now_s), line=0), now_s)


def _say_line(state: SetupState, now_s: float) -> Step:
    text = texts.TUTORIAL[state.line] if state.line < len(texts.TUTORIAL) else texts.TUTORIAL_OVER
    return replace(state, prompt=text, next_s=now_s + LINE_S), (Say(text, about=state.phase),)


def _skip(state: SetupState, now_s: float) -> Step:
    answer = _reply(state, texts.TUTORIAL_ENDED)
    return _enter(state, SetupPhase.OFF, now_s), (answer, Done())


def _speech_began(state: SetupState, text: str, lasts_s: float, now_s: float) -> Step:
    if state.phase is SetupPhase.LEAVING and text == texts.ENROLLED:
        return replace(state, next_s=now_s + lasts_s), ()
    if state.phase is SetupPhase.TUTORIAL and text == state.prompt:
        over = text == texts.TUTORIAL_OVER
        return replace(state, next_s=now_s + lasts_s + (ASKED_AGAIN_S if over else PAUSE_S)), ()
    return state, ()


# --- time -------------------------------------------------------------------------------------------------------------


def _no_time(state: SetupState, now_s: float) -> Step:
    return state, ()


def _looking(state: SetupState, now_s: float) -> Step:
    if state.again_s is not None and now_s >= state.again_s and state.code is not None:
        if state.is_joined and isinstance(state.code, SetupCode):  # a network that works is not left for another try
            return _call(state, state.code, now_s)
        return _use(state, state.code, now_s)
    if state.enrolled is not None and now_s - state.since_s >= OPEN_S:
        return _off(state, Say(texts.ENDED), now_s)
    return _prompt_again(state, now_s) if state.again_s is None else (state, ())


def _prompt_again(state: SetupState, now_s: float) -> Step:
    return _said_again(state, now_s) if now_s - state.prompted_s >= AGAIN_S else (state, ())


def _awaiting(state: SetupState, now_s: float) -> Step:
    """An answer that never comes counts as a failure that may mend itself."""
    if now_s - state.since_s < ANSWER_S:
        return _prompt_again(state, now_s)
    return _answered(state, _NO_ANSWER[state.phase], now_s)


def _confirming(state: SetupState, now_s: float) -> Step:
    return _refuse(state, now_s) if now_s - state.since_s >= CONFIRM_S else _prompt_again(state, now_s)


def _leaving(state: SetupState, now_s: float) -> Step:
    if now_s < state.next_s:
        return state, ()
    return _enter(state, SetupPhase.OFF, now_s), (Restart(),)


def _telling(state: SetupState, now_s: float) -> Step:
    if now_s < state.next_s:
        return state, ()
    if state.line >= len(texts.TUTORIAL):
        return _enter(state, SetupPhase.OFF, now_s), (Done(),)
    return _say_line(replace(state, line=state.line + 1), now_s)


_NO_ANSWER: dict[SetupPhase, SetupEvent] = {
    SetupPhase.JOINING: NotJoined(JoinTrouble.FAILED),
    SetupPhase.ENROLLING: NotLetIn(EnrolTrouble.UNREACHABLE),
    SetupPhase.FINDING: ServersFound(()),
}
_TIMES: dict[SetupPhase, Callable[[SetupState, float], Step]] = {
    SetupPhase.LOOKING: _looking,
    SetupPhase.CONFIRMING: _confirming,
    SetupPhase.JOINING: _awaiting,
    SetupPhase.ENROLLING: _awaiting,
    SetupPhase.FINDING: _awaiting,
    SetupPhase.LEAVING: _leaving,
    SetupPhase.FETCHING: _prompt_again,
    SetupPhase.TUTORIAL: _telling,
}
