"""Drafted decoding writes what plain greedy decoding writes, to the token and to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import vocabulary
from shared.runtime import GuidanceModel, Hazard, Observation
from shared.runtime import grammar as grammars
from shared.runtime.draft import DRAFT_MOST, continuation
from shared.runtime.execution import Execution
from shared.runtime.writing import Written
from tests.shared.runtime.altered import golden_cases, golden_picture
from tests.shared.runtime.plain import Listed, WholePrompt

SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, size: float) -> Observation:
    """What no camera sees: image tokens at random, so that answers differ and go astray."""
    tokens = np.random.default_rng(seed).normal(size=(1, 16, 192)).astype(np.float32) * np.float32(size)
    return Observation(tokens, (), 0.5, 0.2)


def written(model: GuidanceModel, seen: Observation, drafts: Sequence[Sequence[int]], *, constrained: bool) -> Written:
    """What a loaded model writes with one draft after another, whatever is written."""
    coming = iter(drafts)
    return model.language.write(seen, lambda ids: next(coming, ()), constrained=constrained)


def result(answer: Written) -> tuple[object, ...]:
    """All but the number of passes."""
    return answer.ids, answer.weakest, answer.refused, answer.kept


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.1, 4), st.booleans(), st.lists(st.lists(st.integers(0, 888), max_size=14), max_size=9))
def test_no_draft_changes_the_answer_to_noise(
    model: GuidanceModel, seed: int, size: float, constrained: bool, drafts: list[list[int]]
) -> None:
    plain = written(model, noise(seed, size), [], constrained=constrained)
    assert result(written(model, noise(seed, size), drafts, constrained=constrained)) == result(plain)
    assert plain.passes == len(plain.ids) + (len(plain.ids) < model.language.most_tokens)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans(), st.integers(0, 15), st.integers(0, 888), st.data())
def test_a_draft_that_is_right_up_to_a_word_changes_nothing_but_the_passes(
    model: GuidanceModel, seed: int, constrained: bool, wrong_at: int, wrong: int, data: st.DataObject
) -> None:
    plain = written(model, noise(seed, 1.0), [], constrained=constrained)
    draft = list(plain.ids)
    draft[wrong_at : wrong_at + 1] = [wrong]
    cut = data.draw(st.integers(0, len(plain.ids)))
    drafts = [draft, plain.ids[cut:], []]
    again = written(model, noise(seed, 1.0), drafts, constrained=constrained)
    assert result(again) == result(plain)
    assert again.passes <= plain.passes
    right = written(model, noise(seed, 1.0), [plain.ids[:DRAFT_MOST]], constrained=constrained)
    assert result(right) == result(plain)
    assert right.passes <= 1 + max(0, len(plain.ids) - DRAFT_MOST)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 4))
def test_the_answer_is_the_plain_ones_with_no_cache_and_no_draft(
    model: GuidanceModel, whole: WholePrompt, seed: int, size: float
) -> None:
    seen = noise(seed, size)
    assert model.word(seen, constrained=False, most_tokens=16).token_ids == whole.answer(seen)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 4))
def test_constrained_and_drafted_is_the_best_allowed_token_each_time(
    model: GuidanceModel, whole: WholePrompt, listed: Listed, seed: int, size: float
) -> None:
    seen = noise(seed, size)
    said = model.word(seen)
    assert said.token_ids == whole.answer(seen, listed)
    assert said == model.word(seen, drafted=False) == model.word(seen)
    assert vocabulary.problems(said.text) == []


def test_on_the_starters_pictures_every_way_writes_the_same(
    model: GuidanceModel, whole: WholePrompt, listed: Listed, starter_bundle: Path
) -> None:
    growing = GuidanceModel(starter_bundle, model.manifest, execution=Execution(1), in_place=False)
    passes = []
    for number in range(len(golden_cases(starter_bundle))):
        seen = model.look(golden_picture(starter_bundle, number))
        plain = whole.answer(seen)
        assert plain == whole.answer(seen, listed)
        ways = [
            one.word(seen, constrained=constrained, drafted=drafted)
            for one in (model, growing)
            for constrained in (True, False)
            for drafted in (True, False)
        ]
        assert {way.token_ids for way in ways} == {plain}
        assert len({(way.text, way.raw, way.confidence, way.grammatical) for way in ways}) == 1
        assert ways[1].passes == len(plain) + 1
        passes.append(ways[0].passes)
    assert np.mean(passes) < 1.5, "the hazard head's phrases are drafted"


def test_what_the_model_wanted_is_told_when_the_grammar_refused_it(model: GuidanceModel) -> None:
    for seed in range(100):
        free, held = model.word(noise(seed, 2.0), constrained=False), model.word(noise(seed, 2.0))
        assert free.raw == free.text
        assert free.grammatical == (not vocabulary.problems(free.text))
        if held.grammatical:
            assert held.raw == held.text == free.text
        else:
            assert held.text != free.text
            assert free.text.startswith(held.raw)
            return
    pytest.fail("no noise led the model out of the grammar")


def test_few_tokens_may_be_asked_for(model: GuidanceModel) -> None:
    whole_answer = model.word(noise(3, 1.0)).token_ids
    assert model.word(noise(3, 1.0), most_tokens=3).token_ids == whole_answer[:3]


def test_a_draft_goes_on_from_what_is_written() -> None:
    grammar = grammars.Grammar([{5: 1, 7: 3}, {6: 2}, {}, {8: 2}])
    candidates = ((1, 2, 3), (1, 4, 5), (5,))
    assert continuation([], candidates, grammar) == (1, 2, 3)
    assert continuation([1], candidates, grammar) == (2, 3)
    assert continuation([1, 4], candidates, grammar) == (5,)
    assert continuation([5], candidates, grammar) == (6,)  # no candidate goes on: the grammar leaves no choice
    assert continuation([9], candidates, grammar) == ()
    assert len(continuation([], [tuple(range(99))], grammar)) == DRAFT_MOST


def test_the_surest_hazard_is_drafted_first_and_what_was_said_lately_next(model: GuidanceModel) -> None:
    model.language.forget()
    curb, dog = Hazard("curb", "ahead", 0.9), Hazard("dog", "on the left", 0.6)

    def drafted(*hazards: Hazard) -> str:
        return model.language.text(model.language.drafter.proposer(hazards)(()))

    assert drafted(curb, dog) == "Stop, curb ahead."
    assert drafted(Hazard("curb", "ahead", 0.1)) == vocabulary.CLEAR
    said = model.word(noise(5, 1.0)).text
    assert drafted() == said
    assert drafted(dog) == "Caution, dog on the left."
    model.language.forget()
    assert drafted() == vocabulary.CLEAR
