"""The dialogue, as the pure function that it is: what is said and done next, whatever happens in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.setup import dialogue, texts
from device.setup.dialogue import AGAIN_S, CONFIRM_S, OPEN_S, TORN_AFTER_S
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
from shared import monitor, vocabulary
from shared.setup_code import SetupCode, WifiNetwork

WIFI = WifiNetwork("home", password="password1")
PLAIN = SetupCode("10.0.0.1:8443", "anna", "K7QX-3M9T-0AZW-E4HB")
FULL = SetupCode("10.0.0.1:8443", "anna", "K7QX-3M9T-0AZW-E4HB", WIFI)
OTHERS = SetupCode("10.6.6.6:8443", "anna", "AAAA-AAAA-AAAA-AAAA")
OWNED = Enrolled("anna", "10.0.0.1:8443")
SHORT, LONG = Pressed(SetupPress.SHORT), Pressed(SetupPress.LONG)
AGAIN, BEGIN = Pressed(SetupPress.AGAIN), Pressed(SetupPress.BEGIN)


@dataclass(slots=True)
class Talk:
    """A dialogue under way: `now_s` moves by `wait` only."""

    state: SetupState = field(default_factory=SetupState)
    now_s: float = 1000.0
    said: list[str] = field(default_factory=list)
    done: list[SetupAction] = field(default_factory=list)

    @classmethod
    def begun(cls, *, enrolled: Enrolled | None = None, fresh: bool = False, looks: bool = True) -> Talk:
        talk = cls()
        talk._took(dialogue.begin(talk.now_s, enrolled=enrolled, fresh=fresh, looks=looks))
        return talk

    def hear(self, *events: SetupEvent) -> Talk:
        for event in events:
            self._took(dialogue.step(self.state, event, self.now_s))
        return self

    def wait(self, seconds: float, *, every_s: float = 0.5) -> Talk:
        for _ in range(round(seconds / every_s)):
            self.now_s += every_s
            self.hear(TimePassed())
        return self

    def _took(self, step: dialogue.Step) -> None:
        self.state, actions = step
        self.said += [action.text for action in actions if isinstance(action, Say)]
        self.done += [action for action in actions if not isinstance(action, Say)]

    def news(self) -> list[str]:
        """What was said since this was asked last."""
        said, self.said = self.said, []
        return said


# --- the way that goes well ---


def test_the_whole_way_of_a_new_device_is_spoken_step_by_step() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL), Joined(), LetIn(), SpeechBegan(texts.ENROLLED, 1.0)).wait(2)
    assert talk.news() == [
        *(texts.HOLD_CODE, texts.CODE_FOUND, texts.JOINING, texts.JOINED, texts.CALLING),
        *(texts.SERVER_FOUND, texts.ENROLLED),
    ]
    assert talk.done == [Join(WIFI), Enrol(FULL, FULL.server), Restart()]


def test_after_the_restart_the_model_is_waited_for_and_the_introduction_follows() -> None:
    talk = Talk.begun(enrolled=OWNED, fresh=True, looks=False)
    talk.hear(Watched(online=True, fetching=True, guides=False), Watched(online=True, fetching=False, guides=True))
    assert talk.news() == [texts.FETCHING, texts.READY, texts.TUTORIAL[0]]
    for line in texts.TUTORIAL:
        talk.hear(SpeechBegan(line, 2.0)).wait(3)
    assert talk.news() == [*texts.TUTORIAL[1:], texts.TUTORIAL_OVER]
    talk.hear(SpeechBegan(texts.TUTORIAL_OVER, 2.0)).wait(20)
    assert (talk.state.phase, talk.done, talk.news()) == (SetupPhase.OFF, [Done()], [])


def test_a_code_without_wifi_goes_straight_to_the_server() -> None:
    assert Talk.begun().hear(CodeSeen(PLAIN)).done == [Enrol(PLAIN, PLAIN.server)]


def test_the_restart_waits_for_the_last_words_and_not_for_ever_where_none_are_heard() -> None:
    talk = Talk.begun().hear(CodeSeen(PLAIN), LetIn())
    assert Restart() not in talk.wait(5).done
    talk.hear(SpeechBegan(texts.SERVER_FOUND, 1.0), SpeechBegan(texts.ENROLLED, 3.0))
    assert Restart() not in talk.wait(2.5).done
    assert Restart() in talk.wait(1).done
    assert Restart() in Talk.begun().hear(CodeSeen(PLAIN), LetIn()).wait(7).done


# --- what fails ---


def test_while_nobody_shows_a_code_it_is_asked_for_every_half_minute() -> None:
    talk = Talk.begun().wait(95)
    assert talk.news() == [texts.HOLD_CODE] * 4
    assert talk.state.phase is SetupPhase.LOOKING


@pytest.mark.parametrize(("trouble", "text"), dialogue.CODE_TEXTS.items())
def test_what_is_no_code_of_ours_is_said_once_and_again_after_half_a_minute(trouble: CodeTrouble, text: str) -> None:
    talk = Talk.begun()
    talk.news()
    for _ in range(80):
        talk.hear(OtherSeen(trouble)).wait(0.5)
    said = [heard for heard in talk.news() if heard != texts.HOLD_CODE]
    assert said == [text, text]


def test_a_code_that_is_torn_for_a_moment_is_not_worth_a_word() -> None:
    talk = Talk.begun()
    talk.news()
    talk.hear(OtherSeen(CodeTrouble.TORN)).wait(TORN_AFTER_S - 1).hear(OtherSeen(CodeTrouble.TORN)).wait(5)
    talk.hear(OtherSeen(CodeTrouble.TORN)).wait(1).hear(OtherSeen(CodeTrouble.TORN))
    assert talk.news() == []


@pytest.mark.parametrize(
    ("failure", "text"),
    [(NotJoined(JoinTrouble.PASSWORD), texts.WRONG_PASSWORD), (NotLetIn(EnrolTrouble.REFUSED), texts.REFUSED)],
)
def test_a_code_that_failed_for_good_is_not_tried_again_while_it_is_held_there_but_another_one_is(
    failure: NotJoined | NotLetIn, text: str
) -> None:
    code = FULL if isinstance(failure, NotJoined) else PLAIN
    talk = Talk.begun().hear(CodeSeen(code), failure)
    assert talk.news()[-1] == text
    tried = len(talk.done)
    for _ in range(50):
        talk.hear(CodeSeen(code)).wait(0.5)
    assert (talk.news(), len(talk.done)) == ([], tried)
    talk.hear(CodeSeen(OTHERS))
    assert talk.done[-1] == Enrol(OTHERS, OTHERS.server)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (NotJoined(JoinTrouble.NOT_FOUND), texts.NO_NETWORK),
        (NotJoined(JoinTrouble.FAILED), texts.NOT_JOINED),
        (NotLetIn(EnrolTrouble.BUSY), texts.BUSY),
        (NotLetIn(EnrolTrouble.STORAGE), texts.NO_STORAGE),
    ],
)
def test_what_may_mend_itself_is_tried_again_for_ever_without_the_code_before_the_camera(
    failure: NotJoined | NotLetIn, text: str
) -> None:
    code, answers = (FULL, [failure]) if isinstance(failure, NotJoined) else (PLAIN, [failure])
    talk = Talk.begun().hear(CodeSeen(code))
    for _ in range(5):
        talk.hear(*answers)
        assert talk.news()[-1] == text
        first = talk.done[0]
        talk.done.clear()
        talk.wait(AGAIN_S - 2)
        assert (talk.done, talk.news()) == ([], [])
        assert talk.wait(3).done == [first]


def test_a_server_that_does_not_answer_is_looked_for_and_all_that_are_found_are_asked() -> None:
    talk = Talk.begun().hear(CodeSeen(PLAIN), NotLetIn(EnrolTrouble.UNREACHABLE))
    talk.hear(ServersFound(("10.0.0.7:8443", "10.0.0.8:8443")), NotLetIn(EnrolTrouble.REFUSED), LetIn())
    assert talk.done == [Enrol(PLAIN, server) for server in (PLAIN.server,)] + [
        FindServers(),
        Enrol(PLAIN, "10.0.0.7:8443"),
        Enrol(PLAIN, "10.0.0.8:8443"),
    ]
    assert talk.news()[-2:] == [texts.SERVER_FOUND, texts.ENROLLED]


def test_where_no_server_is_found_it_says_so_and_looks_again() -> None:
    talk = Talk.begun().hear(CodeSeen(PLAIN))
    for _ in range(3):
        talk.hear(NotLetIn(EnrolTrouble.UNREACHABLE), ServersFound(()))
        assert talk.news()[-1] == texts.NO_SERVER
        talk.done.clear()
        assert talk.wait(AGAIN_S + 1).done == [Enrol(PLAIN, PLAIN.server)]


def test_a_stranger_in_the_network_who_refuses_the_code_does_not_end_it() -> None:
    talk = Talk.begun().hear(CodeSeen(PLAIN), NotLetIn(EnrolTrouble.UNREACHABLE), ServersFound(("10.0.0.66:8443",)))
    talk.hear(NotLetIn(EnrolTrouble.REFUSED)).news()
    assert talk.wait(AGAIN_S + 1).news() == [texts.CALLING]
    assert talk.done[-1] == Enrol(PLAIN, PLAIN.server)


def test_a_network_that_was_joined_is_not_left_for_another_try_at_the_server() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL), Joined(), NotLetIn(EnrolTrouble.UNREACHABLE), ServersFound(()))
    talk.wait(AGAIN_S + 1)
    assert talk.done == [Join(WIFI), Enrol(FULL, FULL.server), FindServers(), Enrol(FULL, FULL.server)]
    talk.hear(NotLetIn(EnrolTrouble.UNREACHABLE), ServersFound(()), CodeSeen(FULL)).wait(AGAIN_S + 1)
    assert talk.done.count(Join(WIFI)) == 1


def test_an_enrolment_that_comes_after_all_counts_though_nobody_waited_for_it_any_longer() -> None:
    talk = Talk.begun().hear(CodeSeen(PLAIN)).wait(dialogue.ANSWER_S + 1)
    assert talk.state.phase is SetupPhase.FINDING
    talk.hear(LetIn()).wait(dialogue.LAST_WORDS_S + 1)
    assert talk.done[-1] == Restart()


@pytest.mark.parametrize("shown", [[], [CodeSeen(FULL)], [CodeSeen(PLAIN)]], ids=["looking", "joining", "enrolling"])
def test_a_press_for_what_is_open_already_is_answered(shown: list[SetupEvent]) -> None:
    talk = Talk.begun().hear(*shown)
    waits_for = talk.news()[-1]
    assert talk.hear(BEGIN).news() == [waits_for]


def test_a_device_that_cannot_join_networks_says_so_and_asks_the_server_all_the_same() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL), NotJoined(JoinTrouble.UNABLE))
    assert talk.news()[-2:] == [texts.CANNOT_JOIN, texts.CALLING]
    assert talk.done[-1] == Enrol(FULL, FULL.server)


def test_while_another_try_is_awaited_another_code_is_taken() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL), NotJoined(JoinTrouble.NOT_FOUND), CodeSeen(PLAIN))
    assert talk.done[-1] == Enrol(PLAIN, PLAIN.server)


def test_what_the_model_waits_for_is_said_every_half_minute() -> None:
    talk = Talk.begun(enrolled=OWNED, fresh=True, looks=False)
    for online, fetching, text in (
        (False, False, texts.NOT_ONLINE),
        (True, False, texts.NO_MODEL_YET),
        (True, True, texts.STILL_FETCHING),
    ):
        talk.news()
        talk.hear(Watched(online=online, fetching=fetching, guides=False)).wait(AGAIN_S + 1)
        assert talk.news() == [text]


def test_what_takes_long_is_said_again_meanwhile() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL)).wait(AGAIN_S + 1)
    assert talk.news()[-2:] == [texts.JOINING] * 2
    talk.hear(Joined(), NotLetIn(EnrolTrouble.UNREACHABLE)).wait(AGAIN_S + 1)
    assert talk.news()[-2:] == [texts.CALLING] * 2
    assert talk.hear(AGAIN).news() == [texts.CALLING]


def test_an_answer_that_never_comes_is_a_failure_that_is_tried_again() -> None:
    talk = Talk.begun().hear(CodeSeen(FULL)).wait(dialogue.ANSWER_S + 1)
    assert talk.news()[-1] == texts.NOT_JOINED
    talk.wait(AGAIN_S).hear(Joined()).wait(2 * dialogue.ANSWER_S + 2)
    assert texts.NO_SERVER in talk.news()
    assert talk.state.phase is SetupPhase.LOOKING


# --- an enrolled device ---


def test_an_enrolled_device_takes_no_code_unless_its_set_up_was_opened() -> None:
    talk = Talk.begun(enrolled=OWNED, looks=False).hear(CodeSeen(OTHERS), CodeSeen(PLAIN), CodeSeen(WIFI), SHORT)
    assert (talk.said, talk.done, talk.state.reads) == ([], [], False)


def test_a_code_for_another_server_needs_a_short_press() -> None:
    talk = Talk.begun(enrolled=OWNED, looks=False).hear(BEGIN, CodeSeen(OTHERS))
    assert talk.news() == [texts.HOLD_CODE, texts.CODE_FOUND, texts.OTHER_SERVER]
    assert talk.done == []
    assert talk.hear(SHORT).done == [Enrol(OTHERS, OTHERS.server)]


@pytest.mark.parametrize("how", ["a long press", "a minute without one"])
def test_without_it_nothing_is_changed_and_the_code_is_not_asked_about_again_at_once(how: str) -> None:
    talk = Talk.begun(enrolled=OWNED, looks=False).hear(BEGIN, CodeSeen(OTHERS))
    talk.hear(LONG) if how == "a long press" else talk.wait(CONFIRM_S + 1)
    assert talk.news()[-1] == texts.UNCHANGED
    talk.hear(CodeSeen(OTHERS)).wait(5).hear(CodeSeen(OTHERS))
    assert (talk.news(), talk.done) == ([], [])


@pytest.mark.parametrize("code", [OTHERS, SetupCode(OWNED.server, "bert", "AAAA-AAAA-AAAA-AAAA")])
def test_another_name_is_asked_about_like_another_server(code: SetupCode) -> None:
    assert Talk.begun(enrolled=OWNED, looks=True).hear(CodeSeen(code)).state.phase is SetupPhase.CONFIRMING


def test_a_renewed_code_of_its_own_server_is_used_at_once() -> None:
    assert Talk.begun(enrolled=OWNED, looks=True).hear(CodeSeen(PLAIN)).done == [Enrol(PLAIN, PLAIN.server)]


def test_another_wifi_is_joined_and_that_is_all() -> None:
    talk = Talk.begun(enrolled=OWNED, looks=True).hear(CodeSeen(WIFI), Joined())
    assert (talk.done, talk.said[-1], talk.state.phase) == ([Join(WIFI)], texts.JOINED, SetupPhase.OFF)
    assert "password1" not in repr(talk.state)


def test_a_new_device_that_is_shown_a_wifi_alone_joins_it_once_and_goes_on_looking() -> None:
    talk = Talk.begun().hear(CodeSeen(WIFI), Joined())
    assert talk.said[-2:] == [texts.JOINED, texts.HOLD_CODE]
    assert talk.hear(CodeSeen(WIFI)).done == [Join(WIFI)]
    assert talk.hear(CodeSeen(PLAIN)).done[-1] == Enrol(PLAIN, PLAIN.server)


def test_the_set_up_of_an_enrolled_device_closes_by_itself_and_by_a_press() -> None:
    assert Talk.begun(enrolled=OWNED, looks=True).wait(OPEN_S + 1).said[-1] == texts.ENDED
    for press in (LONG, BEGIN):
        talk = Talk.begun(enrolled=OWNED, looks=True).hear(press)
        assert (talk.said[-1], talk.state.phase) == (texts.ENDED, SetupPhase.OFF)


def test_that_of_a_new_device_does_not_close() -> None:
    talk = Talk.begun().wait(OPEN_S * 3).hear(LONG, BEGIN)
    assert talk.state.phase is SetupPhase.LOOKING


# --- presses ---


def test_repeat_says_again_what_is_awaited_and_the_introduction_from_its_beginning() -> None:
    talk = Talk.begun()
    assert talk.hear(AGAIN).said == [texts.HOLD_CODE] * 2
    talk = Talk.begun(enrolled=OWNED, fresh=True, looks=False)
    talk.hear(Watched(online=True, fetching=False, guides=True), SpeechBegan(texts.TUTORIAL[0], 1.0)).wait(2)
    talk.news()
    assert talk.hear(AGAIN).news() == [texts.TUTORIAL[0]]


@pytest.mark.parametrize("press", [SHORT, LONG])
def test_any_other_press_ends_the_introduction_and_cuts_its_line(press: Pressed) -> None:
    talk = Talk.begun(enrolled=OWNED, fresh=True, looks=False)
    talk.hear(Watched(online=True, fetching=False, guides=True))
    _, actions = dialogue.step(talk.state, press, talk.now_s)
    assert actions == (Say(texts.TUTORIAL_ENDED, cut=True, about=SetupPhase.TUTORIAL), Done())


def test_presses_that_mean_nothing_here_are_left_to_the_walk() -> None:
    off, open_new = SetupState(), Talk.begun().state
    assert [press for press in SetupPress if dialogue.takes(off, press)] == [SetupPress.BEGIN]
    assert [press for press in SetupPress if dialogue.takes(open_new, press)] == [SetupPress.BEGIN, SetupPress.AGAIN]


def test_a_voice_that_is_dead_does_not_keep_the_introduction_open() -> None:
    talk = Talk.begun(enrolled=OWNED, fresh=True, looks=False)
    talk.hear(Watched(online=True, fetching=False, guides=True)).wait(600)
    assert (talk.state.phase, talk.done) == (SetupPhase.OFF, [Done()])


# --- whatever happens ---

EVENTS: list[SetupEvent] = [
    *(CodeSeen(code) for code in (PLAIN, FULL, OTHERS, WIFI)),
    *(OtherSeen(trouble) for trouble in CodeTrouble),
    *(NotJoined(trouble) for trouble in JoinTrouble),
    *(NotLetIn(trouble) for trouble in EnrolTrouble),
    *(Pressed(press) for press in SetupPress),
    *(Joined(), LetIn(), ServersFound(()), ServersFound(("10.0.0.9:8443",)), TimePassed()),
    Watched(online=True, fetching=False, guides=True),
]


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from([0.1, 3.0, 31.0, 400.0])), max_size=40), st.booleans()
)
def test_an_enrolled_device_is_never_given_away_without_a_press(
    happened: list[tuple[SetupEvent, float]], looks: bool
) -> None:
    talk = Talk.begun(enrolled=OWNED, looks=looks)
    for event, waited_s in happened:
        talk.now_s += waited_s
        before, phase = len(talk.done), talk.state.phase
        talk.hear(event)
        for action in talk.done[before:]:
            if isinstance(action, Enrol) and action.code == OTHERS and phase is SetupPhase.CONFIRMING:
                assert event == SHORT
            if phase is SetupPhase.OFF:
                assert not isinstance(action, (Enrol, Join))
            if phase is SetupPhase.LOOKING and isinstance(event, CodeSeen) and event.code == OTHERS:
                assert not isinstance(action, Enrol)


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from([0.1, 31.0])), max_size=40))
def test_a_new_device_looks_or_waits_for_an_answer_whatever_happens(happened: list[tuple[SetupEvent, float]]) -> None:
    talk = Talk.begun()
    for event, waited_s in happened:
        talk.now_s += waited_s
        talk.hear(event)
        if LetIn() in [event for event, _ in happened]:
            return
        assert talk.state.phase not in (SetupPhase.OFF, SetupPhase.TUTORIAL)


@pytest.mark.parametrize("text", texts.SETUP_TEXTS)
def test_what_the_set_up_says_may_be_announced(text: str) -> None:
    assert vocabulary.may_be_announced(text)
    assert monitor.stopped(text, tier=2, why="state") is None


def test_the_introduction_takes_about_a_minute_and_names_what_it_does_not_do() -> None:
    words = " ".join(texts.TUTORIAL).split()
    assert 50 <= 60 / 190 * len(words) + 1.5 * len(texts.TUTORIAL) <= 70
    assert {"cane", "dog.", "Silence"} <= set(words)
