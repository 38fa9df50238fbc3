"""One utterance at a time: beginning one, cutting a lower one, and the news that waits for its turn.

News is what must be said but can wait. The newest about a thing takes the place of older ones: what is said last about
the camera is true of the camera. What says that guidance sees waits while it does not. What a warning cuts off is
said again, unless the warning said the same; what nobody could hear, too.
"""

from __future__ import annotations

from dataclasses import replace

from shared import vocabulary
from shared.policy import kinds
from shared.policy.kinds import Action, Cut, News, PolicyState, Speak, Speaking

Step = tuple[PolicyState, tuple[Action, ...]]
MOST_ANNOUNCED = 16


def rank(tier: int) -> int:
    """1 tier 1, 2 urgent news, 3 tier 2 and news, 4 tier 3."""
    return 1 if tier == 1 else tier + 1


def speak(state: PolicyState, text: str, tier: int, why: str, confidence: float, now_s: float) -> Step:
    """Say guidance now. No actions where it may not be said, or something equal or higher is being said."""
    if not may_be_said(text):
        return state, ()
    state, actions = _begin(state, Speak(state.next_utterance, text, tier, why, confidence), rank(tier), now_s, None)
    if actions:
        words = tuple(pair for pair in state.words if now_s - pair[0] < 60.0)
        spent = () if tier == 1 else ((now_s, len(vocabulary.words(text))),)
        last = state.last_guidance if why == "clear" else text  # asked for again, it would be about another place
        state = replace(state, last_guidance=last, words=words + spent)
    return state, actions


def tell(
    state: PolicyState,
    text: str,
    *,
    urgent: bool = False,
    why: str = "state",
    about: str | None = None,
    patient: bool = False,
    sees: bool = False,
) -> PolicyState:
    """Queue news; older news about the same is forgotten. What already waits is not queued twice."""
    if about:
        state = _forget(state, about, but=text)
    if any(news.text == text and news.why == why for news in state.waiting) or not _may_be_announced(text, why):
        return state
    return replace(state, waiting=(*state.waiting, News(text, why, urgent, about, patient=patient, sees=sees)))


def reply(state: PolicyState, text: str, *, tier: int, why: str, about: str) -> PolicyState:
    """Answer the wearer at once; an older answer to the same question is forgotten, and cut where it is being said."""
    state, now = _forget(state, about, but=""), state.speaking
    if now is not None and now.news is not None and now.news.about == about:
        state = replace(state, speaking=replace(now, rank=rank(3), news=None))
    if any(news.text == text and news.why == why for news in state.waiting) or not _may_be_announced(text, why):
        return state
    return replace(state, waiting=(*state.waiting, News(text, why, urgent=True, about=about, tier=tier)))


def read_back(state: PolicyState, heard: str) -> PolicyState:
    """Say what was understood of the wearer's correction: a sentence of the vocabulary, "" = nothing was.

    That the way was clear is never read back in those words.
    """
    if not heard:
        return tell(state, kinds.HEARD_OTHER, about=kinds.OWN_WORDS)
    if "clear" in vocabulary.words(heard):
        return tell(state, kinds.HEARD_NOTHING, why="heard", about=kinds.OWN_WORDS)
    if not vocabulary.may_be_spoken(heard):
        return tell(state, kinds.HEARD_OTHER, about=kinds.OWN_WORDS)
    return tell(state, f"{kinds.HEARD}{heard}", why="heard", about=kinds.OWN_WORDS)


def cut_off(state: PolicyState, now_s: float) -> PolicyState:
    """What is being said is cut, for silence; news is begun again later."""
    news = None if state.speaking is None else state.speaking.news
    state = replace(state, speaking=None, quiet_since_s=now_s)
    if news is None:
        return state
    return replace(state, waiting=(*_put_off(news, now_s), *state.waiting))


def say_waiting(state: PolicyState, now_s: float) -> Step:
    """Say the most urgent, oldest waiting news if its turn has come."""
    due = [news for news in state.waiting if _is_due(news, state, now_s)]
    if not due:
        return state, ()
    news = min(due, key=lambda item: item.rank)
    rest = list(state.waiting)
    rest.remove(news)
    said = Speak(state.next_utterance, news.text, news.tier, news.why)
    after, actions = _begin(replace(state, waiting=tuple(rest)), said, news.rank, now_s, news)
    if not actions:
        return state, ()
    return replace(after, announced=(*after.announced, (now_s, news))[-MOST_ANNOUNCED:]), actions


def _is_due(news: News, state: PolicyState, now_s: float) -> bool:
    if news.sees and (state.blocked or state.paused or state.bad_since_s is not None):
        return False
    if news.urgent:
        return True
    hushed = news.patient and now_s < state.held_until_s
    return not state.listening and not hushed and now_s >= news.not_before_s


def voice_lost(state: PolicyState, now_s: float) -> PolicyState:
    """From a little before now on nothing was heard."""
    return state if state.lost_s is not None else replace(state, lost_s=now_s - kinds.LOST_BEFORE_S)


def voice_found(state: PolicyState, text: str) -> PolicyState:
    """It is heard again, which `text` says: news that nobody heard is said again, and so is what is still in view."""
    if state.lost_s is None:
        return state
    unheard = _unheard(state, state.lost_s)
    heard = tuple(item for item in state.said if item.at_s < state.lost_s)
    state = tell(replace(state, lost_s=None, said=heard), text, urgent=True, about=kinds.VOICE)
    for news in unheard:
        state = tell(state, news.text, urgent=news.urgent, about=news.about, patient=news.patient, sees=news.sees)
    return state


def _unheard(state: PolicyState, since_s: float) -> list[News]:
    """News that was begun since then, where nothing newer about the same waits."""
    true_no_more = {kinds.VOICE, *(news.about for news in state.waiting if news.about)}
    begun = (news for at_s, news in state.announced if at_s >= since_s)
    return [news for news in begun if news.why == "state" and news.about not in true_no_more]


def may_be_said(text: str) -> bool:
    """The last check before the voice, whatever asked for the words: the vocabulary's table allows the sentence."""
    return vocabulary.may_be_spoken(text) or text in kinds.NOT_SURE.values()


def _may_be_announced(text: str, why: str) -> bool:
    about_the_way = why == "asked" or (why == "repeat" and text != kinds.NOTHING_SAID)
    if why == "heard" and text != kinds.HEARD_NOTHING:
        return text.startswith(kinds.HEARD) and may_be_said(text.removeprefix(kinds.HEARD))
    return may_be_said(text) if about_the_way else vocabulary.may_be_announced(text)


def _begin(state: PolicyState, said: Speak, its_rank: int, now_s: float, news: News | None) -> Step:
    """Start an utterance, cutting a lower one. No actions where an equal or higher one is being said."""
    now = state.speaking
    cut: tuple[Action, ...] = ()
    if now is not None:
        if now.rank <= its_rank:
            return state, ()
        cut = (Cut(now.utterance),)
        if now.news is not None and now.news.text != said.text:
            state = replace(state, waiting=(*_put_off(now.news, now_s), *state.waiting))
    speaking = Speaking(said.utterance, its_rank, now_s, news)
    return replace(state, speaking=speaking, next_utterance=said.utterance + 1), (*cut, said)


def _forget(state: PolicyState, about: str, *, but: str) -> PolicyState:
    """Do not say other news about this any more, nor say it again if it is cut off now."""
    waiting = tuple(news for news in state.waiting if news.about != about or news.text == but)
    speaking = state.speaking
    if speaking is not None and speaking.news is not None and speaking.news.about == about:
        speaking = speaking if speaking.news.text == but else replace(speaking, news=None)
    return replace(state, waiting=waiting, speaking=speaking)


def _put_off(news: News, now_s: float) -> tuple[News, ...]:
    """News that was cut off, to be begun again. Among many warnings, half of it again and again would only add to the
    noise, and sooner so would news that can wait: that is given up in the end."""
    if news.patient and news.cuts + 1 >= kinds.PATIENT_TRIES:
        return ()
    doublings = min(2 * news.cuts if news.patient else news.cuts, 5)
    pause_s = 0.0 if news.urgent else kinds.AGAIN_S * 2**doublings
    return (replace(news, cuts=news.cuts + 1, not_before_s=now_s + pause_s),)
