"""The chain world: arithmetic, splits, what is planted in the traces, what is verified."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_anatomy import dissect
from benchmarks.models.chain_traces import write
from benchmarks.models.chain_world import Prompts, World, draw, draw_per_level, spoken, verify

RNG = np.random.default_rng


def numbers(text: str) -> np.ndarray:
    return np.array([[chain.TOKENS.index(word) for word in text.split()]])


def one(start: int, *operations: str) -> Prompts:
    ops = [[chain.OPERATIONS.index(operation) for operation in operations]]
    return Prompts(np.array([start]), np.array(ops), np.array([len(operations)]))


def test_truth_is_pythons_arithmetic():
    prompts = draw(500, World(max_factor=9), RNG(0))
    for row, found in enumerate(prompts.truth()):
        value = int(prompts.start[row])
        for op in prompts.ops[row, : prompts.level[row]]:
            value = int(eval(f"{value} {chain.OPERATIONS[op]}", {"__builtins__": {}})) % 100  # noqa: S307
        assert value == found


def test_hard_steps_are_those_with_a_carry_or_borrow():
    def hard(operation: str, value: int) -> bool:
        return bool(chain.HARD[chain.OPERATIONS.index(operation), value])

    def slipped(operation: str, value: int) -> int:
        return int(chain.SLIPPED[chain.OPERATIONS.index(operation), value])

    assert not hard("+4", 25) and hard("+5", 25) and slipped("+5", 25) == 20
    assert not hard("-5", 25) and hard("-6", 25) and slipped("-6", 25) == 29
    assert not hard("*4", 32) and hard("*4", 33) and slipped("*4", 33) == 22
    assert (chain.SLIPPED != chain.AFTER)[chain.HARD].all()
    assert (chain.SLIPPED == chain.AFTER)[~chain.HARD].all()


def test_a_prompt_and_its_plain_trace_read_as_described():
    prompts = one(37, "+8", "*6")
    assert spoken(prompts.tokens()[0]) == "X 7 3 #1 +8 #2 *6 ="
    trace = write(prompts, World.plain(levels=2, max_factor=9), RNG(0))
    assert spoken(trace.tokens[0]) == "X 7 3 #1 +8 5 4 #2 *6 0 7 A 0 7 E"
    assert trace.length[0] == 15 and trace.answer[0] == 70


def test_prompts_are_padded_on_the_left():
    short = Prompts(np.array([5]), np.array([[0, 0, 0]]), np.array([1]))
    assert short.tokens()[0, :4].tolist() == [chain.PAD] * 4
    assert spoken(short.tokens()[0]) == "X 5 0 #1 +1 ="
    # what stands behind the level means nothing
    assert (Prompts(short.start, np.array([[0, 9, 20]]), short.level).tokens() == short.tokens()).all()


def test_splits_share_no_prompt():
    seen = {}
    for split in chain.SPLITS:
        prompts = draw(4000, World(levels=2), RNG(1), split)
        seen[split] = {row.tobytes() for row in prompts.tokens()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["test"] & seen["validation"]
    with pytest.raises(ValueError, match="test, validation, train"):
        draw(1, World(), RNG(0), "dev")


def test_the_split_of_a_prompt_ignores_what_is_not_in_it():
    prompts = draw(200, World(levels=3), RNG(2), "test", level=1)
    other = Prompts(prompts.start, np.where(np.arange(3) < 1, prompts.ops, 7), prompts.level)
    assert (chain._bucket(prompts) == 0).all() and (chain._bucket(other) == 0).all()


def test_levels_and_factors_are_kept():
    prompts = draw_per_level(7, World(levels=4, max_factor=3), RNG(3), "test")
    assert prompts.level.tolist() == [level for level in range(1, 5) for _ in range(7)]
    used = {chain.OPERATIONS[op] for op in draw(3000, World(max_factor=3), RNG(4)).ops.ravel()}
    assert {word for word in used if word[0] == "*"} == {"*2", "*3"}
    assert not any(
        chain.OPERATIONS[op][0] == "*" for op in draw(500, World(max_factor=1), RNG(4)).ops.ravel()
    )


def test_prompts_per_level_differ_as_long_as_there_are_any():
    world = World(levels=2)
    few, many = (draw_per_level(each, world, RNG(3), "test") for each in (60, 300))
    assert len(set(few.numbers())) == 120
    distinct = {key for key in many.numbers() if len(key) == 2}
    assert len(many) == 600 and 100 < len(distinct) < 200


def test_plain_traces_are_always_right_and_verbose_ones_mostly():
    for world, low, high in ((World.plain(), 1.0, 1.0), (World(), 0.9, 0.99)):
        prompts = draw(2000, world, RNG(5))
        traces = write(prompts, world, RNG(6))
        right = verify(prompts, traces.tokens)
        assert (right == (traces.answer == prompts.truth())).all()
        assert low <= right.mean() <= high
        assert traces.length.max() <= world.room


@pytest.mark.parametrize("place", [-4, -3, -2, -1])
def test_an_altered_answer_is_rejected(place):
    prompts = draw(300, World.plain(), RNG(7))
    traces = write(prompts, World.plain(), RNG(8))
    broken = traces.tokens.copy()
    at = traces.length + place
    rows = np.arange(len(prompts))
    broken[rows, at] = np.where(broken[rows, at] < 10, (broken[rows, at] + 1) % 10, chain.EQUALS)
    assert verify(prompts, traces.tokens).all()
    assert not verify(prompts, broken).any()


def test_only_the_end_of_an_answer_counts():
    prompts = one(37, "+8")
    assert verify(prompts, numbers("X 7 3 #1 +8 9 9 A 5 4 E")).all()
    assert verify(prompts, numbers("A 5 4 E A 9 9 E")).all()
    assert not verify(prompts, numbers("A 9 9 E A 5 4 E")).any()
    assert not verify(prompts, numbers("A 5 4 A 5 4 0 E")).any()
    assert not verify(prompts, numbers("A 5 4")).any()
    assert not verify(prompts, numbers("E A 5 4")).any()
    assert not verify(one(37, "+9"), numbers("A 5 4 E")).any()


def test_planted_rates_are_found_again():
    world = World(max_factor=9)
    prompts = draw(4000, world, RNG(9))
    rates = dissect(prompts, write(prompts, world, RNG(10)).tokens).rates()
    assert rates["broken"] == rates["unended"] == rates["error_easy"] == 0
    assert rates["repaired"] == 1
    for name, planted in (("error_hard", 0.12), ("recheck_hard", 0.9), ("recheck_easy", 0.1)):
        assert abs(rates[name] - planted) < 0.015, name
    harmless = dissect(prompts, write(prompts, World(max_factor=9, harm=0.0), RNG(10)).tokens).rates()
    assert rates["harmed"] > 0.01 > harmless["harmed"] == 0


def test_doubt_brings_passes_and_disagreement_more():
    def passes(**knobs: float) -> float:
        world = World(levels=2, **knobs)
        prompts = draw(1500, world, RNG(11))
        return dissect(prompts, write(prompts, world, RNG(12)).tokens).rates()["passes"]

    assert passes(doubt=0.0) == 1.0
    assert abs(passes(doubt=1.0, restless=0.0, slip=0.0, harm=0.0) - 2.0) < 1e-9
    assert passes(doubt=1.0, restless=0.0, slip=0.5, recheck_hard=0.0) > 2.1


def test_an_answer_is_taken_apart_as_by_hand():
    prompts = one(37, "+8", "-2")
    told = dissect(
        prompts, numbers("X 7 3 #1 +8 5 3 W +8 5 4 #2 -2 3 4 W -2 3 5 X 7 3 #1 +8 5 4 #2 -2 3 4 A 3 4 E")
    )
    assert told.steps == {True: 2, False: 2} and told.wrong == {True: 1, False: 0}
    assert told.rechecked == {True: 1, False: 1} and told.wrong_checked == {True: 1, False: 0}
    assert (told.repaired, told.harmed, told.passes, told.broken, told.unended) == (1, 1, 2, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "X 7 3 #2 -2 5 3 A 5 3 E",  # a step left out
        "X 7 3 #1 -2 5 3 #2 -2 3 3 A 3 3 E",  # another operation
        "X 7 3 #1 +8 5 4 A 5 4 E",  # answers too early
        "X 7 3 W +8 5 4 #1 +8 5 4 #2 -2 3 4 A 3 4 E",  # checks before anything is there
        "X 7 3 #1 +8 5 4 #2 -2 3 4 A 3 4",  # no end
        "X 7 3 #1 +8 5 X #2 -2 3 4 A 3 4 E",  # a mark for a digit
    ],
)
def test_what_loses_the_form_is_broken(text):
    assert dissect(one(37, "+8", "-2"), numbers(text)).broken == 1


def test_worlds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="1 to 8"):
        World(levels=9)
    with pytest.raises(ValueError, match="one pass of 6 operations may take 55"):
        World(room=50)
    with pytest.raises(ValueError, match="slip=1.5: a probability"):
        World(slip=1.5)
