"""Votes, checkers, cascades and limits on chains of arithmetic, on a decoder whose slips are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_traces import write
from benchmarks.run import Run
from benchmarks.tasks.arith_gpt import ArithGpt, repeat
from methods.agents.best_of_n import BestOfN
from methods.agents.chain_cascade import ChainCascade, ChainPair, boldest
from methods.agents.composed import (
    Composed,
    Script,
    Try,
    agrees,
    check_room,
    keys_of,
    laid_out,
    sample,
    value_of,
)
from methods.agents.length_limit import LengthLimit
from methods.agents.self_consistency import SelfConsistency, commonest
from methods.base import Method

TASK = ArithGpt(levels=3, items=64, each=8, tries=3, room=512, width=16, depth=1, heads=2)


class Noisy(Composed):
    """A decoder that works a chain out twice and writes each digit one too high with probability `slip`."""

    def __init__(self, slip: float) -> None:
        super().__init__(nn.Identity(), 60)
        self.slip, self.tokens = slip, 0

    def compose(self, prompts: Tensor) -> list[list[int]]:
        self.tokens += len(prompts)
        texts = []
        for _, _, start, *ops in keys_of(prompts, 0, 1):
            value, steps = start, [chain.START, start % 10, start // 10]
            for i, op in enumerate(ops):
                value = int(chain.AFTER[op, value])
                steps += [chain.STEP + i, chain.OP + op, value % 10, value // 10]
            texts.append([*steps, *steps, chain.ANSWER, value % 10, value // 10, chain.END])
        return texts

    def prefill(self, tokens: Tensor, cache: Script) -> Tensor:
        return self._noise(super().prefill(tokens, cache))

    def step(self, token: Tensor, cache: Script) -> Tensor:
        return self._noise(super().step(token, cache))

    def _noise(self, logits: Tensor) -> Tensor:
        token = logits.argmax(-1)
        digit = token < 10
        wrong = torch.where(digit, (token + 1) % 10, token)
        share = torch.zeros_like(logits).scatter(1, token[:, None], 1.0)
        share[digit] *= 1 - self.slip
        share[digit] = share[digit].scatter(1, wrong[digit, None], self.slip)
        return share.log()


def test_split(times: int = 1) -> dict[str, Tensor]:
    return repeat({name: torch.from_numpy(values) for name, values in DATA["test"].items()}, times)


test_split.__test__ = False  # type: ignore[attr-defined]
DATA = TASK.prepare()


def run(method: Method, seed: int = 0) -> Run:
    valid = {name: torch.from_numpy(values) for name, values in DATA["valid"].items()}
    return Run(TASK, method, seed, torch.device("cpu"), {}, valid)


def said(system: Any, seed: int = 0, tries: int = 1) -> Any:
    return TASK.answer(system, test_split(tries), TASK.luck(test_split(), seed, tries))


def rows(answers: Any) -> list[list[int]]:
    return [row[:n] for row, n in zip(answers.tokens.tolist(), answers.length.tolist(), strict=True)]


# -------------------------------------------------------------------- votes by hand


def tried(value: int | None, mean: float, accepted: bool = False, tokens: Sequence[int] = ()) -> Try:
    return Try(tuple(tokens), value, mean, mean, accepted)


def test_votes_by_hand() -> None:
    assert commonest([tried(4, -0.9), tried(7, -0.1), tried(4, -0.5)]) == 2  # the likeliest of the majority
    assert commonest([tried(4, -0.9), tried(7, -0.1)]) == 1  # a tie goes to the likelier answer
    assert commonest([tried(4, -0.2), tried(7, -0.3), tried(7, -0.4), tried(4, -0.5)]) == 0
    assert commonest([tried(None, -0.01), tried(None, -0.01), tried(3, -2.0)]) == 2  # no answer, no vote
    assert commonest([tried(None, -0.4), tried(None, -0.2)]) == 1
    assert commonest([tried(0, -0.4), tried(None, -0.2)]) == 0  # zero is an answer


def test_all_tries_are_written_and_the_taken_one_is_last() -> None:
    a, e = chain.ANSWER, chain.END
    tries = [
        tried(1, 0, tokens=(a, 1, 0, e)),
        tried(2, 0, tokens=(9, a, 2, 0, e)),
        tried(None, 0, tokens=(5, 5)),
    ]
    text = laid_out(tries, 0)
    assert text == [9, a, 2, 0, chain.EQUALS, 5, 5, a, 1, 0, e]
    assert len(text) == sum(len(one.tokens) for one in tries) and text.count(e) == 1


def test_values_are_read_where_the_task_reads_them() -> None:
    given = run(SelfConsistency())
    system = Noisy(0.1)
    prompts = TASK.prompts(test_split())
    tries = sample(system, prompts, keys_of(prompts, 0, 1), 0, 200)
    truth = TASK.chains(test_split()).truth()
    right = TASK.verify(test_split(), said(system).tokens)
    assert [one.value == want for one, want in zip(tries, truth, strict=True)] == right.tolist()
    assert 0 < right.mean() < 1 and given.method.tries == 4
    assert value_of([chain.ANSWER, 3, 4, chain.END]) == 43 and value_of([3, 4, chain.END]) is None
    assert value_of([chain.ANSWER, 3, chain.OP, chain.END]) is None and value_of([chain.ANSWER, 3, 4]) is None


# -------------------------------------------------------------------- the checker


def trace(prompt: Sequence[int], passes: Sequence[Sequence[int]], answer: int) -> list[int]:
    text = []
    for values in passes:
        text += [chain.START, prompt[0] % 10, prompt[0] // 10]
        for i, (op, value) in enumerate(zip(prompt[1:], values, strict=True)):
            text += [chain.STEP + i, chain.OP + op, value % 10, value // 10]
    return [*text, chain.ANSWER, answer % 10, answer // 10, chain.END]


def test_the_checker_by_hand() -> None:
    prompt = (37, 7, 0)  # 37 + 8 + 1 = 46
    assert agrees(trace(prompt, [(45, 46), (45, 46)], 46), prompt)
    assert agrees(
        trace(prompt, [(45, 46), (35, 36), (35, 36)], 36), prompt
    )  # wrong twice alike: it does not work out
    assert not agrees(trace(prompt, [(45, 46)], 46), prompt)  # one pass bears nothing out
    assert not agrees(trace(prompt, [(45, 46), (45, 36)], 46), prompt)
    assert not agrees(trace(prompt, [(45, 46), (45, 46)], 47), prompt)
    assert not agrees(trace(prompt, [(45, 46), (45, 46)], 46), (36, 7, 0))  # another start
    assert not agrees(trace(prompt, [(45, 46), (45, 46)], 46), (37, 7, 1))  # another operation
    assert not agrees(trace(prompt, [(45, 46), (45, 46)], 46), (37, 7))  # too many steps
    assert not agrees(trace(prompt, [(45, 46), (45, 46)], 46)[:-1], prompt)  # no end
    good = trace(prompt, [(45, 46), (45, 46)], 46)
    checked = [*good[:7], chain.RECHECK, chain.OP + 7, 5, 4, *good[7:]]
    assert agrees(checked, prompt)
    assert not agrees([*good[:7], chain.RECHECK, chain.OP + 6, 5, 4, *good[7:]], prompt)
    assert not agrees([*good[:3], chain.RECHECK, chain.OP + 7, 5, 4, *good[3:]], prompt)
    assert not agrees(good[3:], prompt) and not agrees([], prompt)


def test_the_checker_on_written_traces() -> None:
    world = chain.World(levels=4, max_factor=5, room=400, doubt=1.0)
    prompts = chain.draw(200, world, np.random.default_rng(0))
    traces = write(prompts, world, np.random.default_rng(1))
    rows = [row[:n].tolist() for row, n in zip(traces.tokens, traces.length, strict=True)]
    accepted = [agrees(row, key) for row, key in zip(rows, prompts.numbers(), strict=True)]
    agreed = []  # the writer stops where two passes agree, or goes on in doubt until the last two do
    for row in rows:
        ends = [i for i, token in enumerate(row) if token in (chain.START, chain.ANSWER)][1:]
        agreed.append(len(ends) > 1 and row[ends[-1] - 2 : ends[-1]] == row[ends[-2] - 2 : ends[-2]])
    assert accepted == agreed and 0.8 < np.mean(accepted) < 1


# -------------------------------------------------------------------- identities


@pytest.mark.parametrize("method", [SelfConsistency(tries=1, limit=40), BestOfN(tries=1, limit=40)])
def test_one_try_is_the_task_s_own_answer(method: Any) -> None:
    inner = Noisy(0.1)
    system = method.serve(inner, run(method, 5))
    assert rows(said(system, 5, 3)) == rows(said(inner, 5, 3))
    torch.manual_seed(0)
    model = TASK.model(run(method)).eval()
    served = method.serve(model, run(method, 5))
    limited = TASK.answer(
        LengthLimit(limit=40, force=False).serve(model, run(method)),
        test_split(),
        TASK.luck(test_split(), 5),
    )
    assert rows(said(served, 5)) == rows(limited)  # a random decoder hardly ends: cut off at as many tokens
    assert max(map(len, rows(limited))) == 40
    tokens = torch.randint(0, 10, (2, 9))
    assert torch.equal(served(tokens), model(tokens))


def test_without_temperature_it_is_the_greedy_answer() -> None:
    inner = Noisy(0.3)
    greedy = rows(TASK.answer(inner, test_split()))
    method = SelfConsistency(tries=1, limit=60, temperature=0.0)
    assert rows(said(method.serve(inner, run(method)), 3)) == greedy
    cascade = ChainCascade(threshold=1.0, limit=60)
    pair = ChainPair(Noisy(0.4), inner, torch.tensor(1.0, dtype=torch.float64))
    texts = rows(said(cascade.serve(pair, run(cascade)), 3))
    assert [text[len(text) // 2 :] for text in texts] == greedy
    given = run(cascade)
    ChainCascade(limit=60).adapt(pair, given)
    assert given.log.spent["tokens"] == 2 * sum(map(len, rows(TASK.answer(inner, given.valid))))


def test_n_tries_have_the_luck_of_n_answers() -> None:
    """The vote of three is over the three answers that the task draws for one prompt."""
    inner = Noisy(0.1)
    drawn = rows(said(inner, 2, 3))
    voted = rows(said(SelfConsistency(tries=3, limit=100).serve(inner, run(SelfConsistency(), 2)), 2))
    assert len(voted) * 3 == len(drawn)
    for i, text in enumerate(voted):
        mine = drawn[3 * i : 3 * i + 3]
        values = [value_of(row) for row in mine]
        top = max(values.count(value) for value in values)
        assert values.count(value_of(text[-4:])) == top
        assert len(text) == sum(map(len, mine))


def test_a_vote_does_not_hang_on_the_batch() -> None:
    inner = Noisy(0.1)
    system = SelfConsistency(tries=3, limit=100).serve(inner, run(SelfConsistency()))
    whole = rows(said(system, 0, 3))
    part = {name: values[6:9] for name, values in test_split().items()}
    again = TASK.answer(system, repeat(part, 3), TASK.luck(part, 0, 3))
    assert rows(again) == whole[18:27]
    assert whole[18] != whole[19]  # the second answer to a prompt has other luck


def test_more_votes_and_a_checker_are_right_more_often() -> None:
    inner = Noisy(0.25)

    def accuracy(system: Any) -> tuple[float, float]:
        found = TASK.score(system, test_split(), run(SelfConsistency()))
        return float(found["accuracy"].values.mean()), float(found["tokens"].values.mean())

    one, length = accuracy(inner)
    voted, votes = accuracy(SelfConsistency(tries=5, limit=100).serve(inner, run(SelfConsistency())))
    checked, tries = accuracy(BestOfN(tries=5, limit=100).serve(inner, run(BestOfN())))
    assert voted > one + 0.1 and checked > one + 0.1
    assert votes == pytest.approx(5 * length) and length < tries < votes


# -------------------------------------------------------------------- best of n


def test_a_checker_stops_at_the_first_accepted_try() -> None:
    inner = Noisy(0.08)
    prompts = TASK.prompts(test_split())
    keys = keys_of(prompts, 0, 4)
    tries = [sample(inner, prompts, keys, number, 100) for number in range(4)]
    for method in (BestOfN(limit=100), BestOfN(limit=100, vote=True)):
        texts = method.serve(inner, run(method)).compose(prompts)
        counts = []
        for i, text in enumerate(texts):
            mine = [row[i] for row in tries]
            accepted = [one.accepted for one in mine]
            asked = accepted.index(True) + 1 if any(accepted) else 4
            counts.append(asked)
            assert len(text) == sum(len(one.tokens) for one in mine[:asked])
            if any(accepted):
                assert value_of(text[-4:]) == mine[asked - 1].value
            elif method.vote:
                assert value_of(text[-4:]) == mine[commonest(mine)].value
            else:
                assert value_of(text[-4:]) == max(mine, key=lambda one: one.mean_logprob).value
        assert min(counts) == 1 and 1 < np.mean(counts) < 4


@pytest.mark.parametrize("by", ["mean_logprob", "min_logprob"])
def test_the_most_confident_try(by: str) -> None:
    inner = Noisy(0.08)
    prompts = TASK.prompts(test_split())
    tries = [sample(inner, prompts, keys_of(prompts, 0, 3), number, 100) for number in range(3)]
    method = BestOfN(tries=3, by=by, limit=100)
    for i, text in enumerate(method.serve(inner, run(method)).compose(prompts)):
        mine = [row[i] for row in tries]
        best = max(mine, key=lambda one: getattr(one, by) if one.value is not None else -9e9)
        assert tuple(text[-len(best.tokens) :]) == best.tokens and len(text) == sum(
            len(t.tokens) for t in mine
        )


def test_confidence_is_that_of_the_model() -> None:
    inner = Noisy(0.25)
    prompts = TASK.prompts(test_split())
    for one in sample(inner, prompts, keys_of(prompts, 0, 1), 0, 100):
        digits = sum(token < 10 for token in one.tokens)
        wrong = (one.mean_logprob * len(one.tokens) - digits * np.log(0.75)) / np.log(0.25 / 0.75)
        assert wrong == pytest.approx(round(wrong), abs=1e-3) and round(wrong) >= 0
        assert one.min_logprob == pytest.approx(np.log(0.25 if round(wrong) else 0.75), abs=1e-5)


# -------------------------------------------------------------------- cascades


def cascade(threshold: float, by: str = "min_logprob") -> tuple[Any, Noisy, Noisy]:
    method = ChainCascade(by=by, threshold=threshold, limit=100, temperature=1.0)
    weak, strong = Noisy(0.05), Noisy(0.01)
    pair = ChainPair(weak, strong, torch.tensor(threshold))
    return method.serve(pair, run(method)), weak, strong


@pytest.mark.parametrize("by", ["checker", "mean_logprob", "min_logprob"])
def test_a_cascade_at_the_ends(by: str) -> None:
    system, weak, strong = cascade(0.0, by)
    assert rows(said(system, 0, 3)) == rows(said(weak, 0, 3))
    system, weak, strong = cascade(1.0, by)
    first, second = rows(said(weak, 0, 3)), rows(said(strong, 0, 3))
    for text, a, b in zip(rows(said(system, 0, 3)), first, second, strict=True):
        assert text[len(a) :] == b and text[: len(a) - 1] == a[:-1]


def test_only_the_doubted_are_asked_again_and_both_are_paid() -> None:
    system, weak, strong = cascade(0.5)
    first, second = rows(said(weak)), rows(said(strong))
    strong.tokens = 0
    texts = rows(said(system))
    prompts = TASK.prompts(test_split())
    doubt = [
        one.signals["min_logprob"] < 0.5 for one in sample(weak, prompts, keys_of(prompts, 0, 1), 0, 100)
    ]
    assert strong.tokens == sum(doubt) and 0 < sum(doubt) < len(doubt)
    for text, a, b, asked in zip(texts, first, second, doubt, strict=True):
        assert len(text) == len(a) + asked * len(b)
        assert value_of(text[-4:]) == value_of((b if asked else a)[-4:])


def test_the_boldest_threshold_by_hand() -> None:
    signal = np.array([0.9, 0.7, 0.5, 0.1])
    weak, strong = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
    # asked below .5 wins the last: 3 of 4, what the strong model has
    assert boldest(signal, weak, strong, 0.0) == pytest.approx(0.5)
    assert boldest(signal, weak, strong, 0.25) == 0.0
    assert boldest(signal, np.zeros(4), np.ones(4), 0.0) == 1.0


def test_a_learned_threshold_holds_on_validation_and_is_paid_for() -> None:
    method = ChainCascade(limit=100, draws=6, temperature=1.0)
    given = run(method)
    pair = ChainPair(Noisy(0.2), Noisy(0.02), torch.tensor(0.5))
    learned = float(method.adapt(pair, given).threshold)
    assert 0 < learned < 1
    length = 2 * (3 + 4 * given.valid["level"].double()) + 4
    assert given.log.spent["tokens"] == 2 * 6 * int(length.sum())
    fixed = ChainCascade(by="checker")
    given = run(fixed)
    assert fixed.adapt(pair, given) is pair and not given.log.spent


# -------------------------------------------------------------------- limits


@pytest.mark.parametrize("force", [True, False])
def test_no_answer_is_longer_than_the_limit(force: bool) -> None:
    inner = Noisy(0.05)
    limit = 20
    system = LengthLimit(limit=limit, force=force).serve(inner, run(LengthLimit()))
    own, cut = rows(said(inner, 1, 3)), rows(said(system, 1, 3))
    assert max(map(len, own)) > limit and min(map(len, own)) <= limit
    for before, after in zip(own, cut, strict=True):
        assert len(after) <= limit
        if len(before) <= limit:
            assert after == before  # what fits is left as it was
        elif force:
            assert after[: limit - 4] == before[: limit - 4] and len(after) == limit
            assert after[-4] == chain.ANSWER and max(after[-3:-1]) < 10 and after[-1] == chain.END
        else:
            assert after == [*before[: limit - 1], chain.END]


def test_an_answer_that_has_begun_is_left_alone() -> None:
    inner = Noisy(0.0)
    for limit in range(16, 26):  # level 1 is written in 18 tokens
        system = LengthLimit(limit=limit).serve(inner, run(LengthLimit()))
        for before, after in zip(rows(said(inner)), rows(said(system)), strict=True):
            assert len(after) == min(limit, len(before))
            if len(before) <= limit:
                assert after == before


def test_a_limited_decoder_lets_rows_leave() -> None:
    torch.manual_seed(1)
    model = TASK.model(run(LengthLimit())).eval()
    method = LengthLimit(limit=24)
    system = method.serve(model, run(method))
    whole = rows(said(system, 0, 3))
    part = {name: values[5:6] for name, values in test_split().items()}
    assert rows(TASK.answer(system, repeat(part, 3), TASK.luck(part, 0, 3))) == whole[15:18]
    for row in whole:
        said_before = chain.ANSWER in row[17:20]  # an answer of its own, however odd, is not talked into
        assert len(row) < 24 or said_before or value_of(row[-4:]) is not None


# -------------------------------------------------------------------- room


def test_tries_must_fit_the_task_s_room() -> None:
    with pytest.raises(ValueError, match="tries=5 of limit=128: up to 640 tokens do not fit room=512"):
        SelfConsistency(tries=5).serve(Noisy(0.1), run(SelfConsistency()))
    check_room(4 * 128, 512, "")
    vote = SelfConsistency(tries=4, limit=100).serve(Noisy(0.1), run(SelfConsistency()))
    method = ChainCascade(limit=100)
    weak = TASK.model(run(method))
    assert method.serve(ChainPair(weak, vote, torch.tensor(0.5)), run(method)).longest == 500
    with pytest.raises(ValueError, match="up to 513 tokens"):
        ChainCascade(limit=113).serve(ChainPair(weak, vote, torch.tensor(0.5)), run(method))


def test_a_vote_may_be_the_strong_model() -> None:
    """One answer first, a vote of three where it is in doubt; the first of the vote has the same luck."""
    inner = Noisy(0.05)
    vote = SelfConsistency(tries=3, limit=60).serve(inner, run(SelfConsistency()))
    method = ChainCascade(threshold=0.5, limit=60, temperature=1.0)
    system = method.serve(ChainPair(inner, vote, torch.tensor(0.5, dtype=torch.float64)), run(method))
    one, three = rows(said(inner)), rows(said(vote))
    lengths = {len(both) for both in rows(said(system))}
    for both, a, b in zip(rows(said(system)), one, three, strict=True):
        assert both == a or (len(both) == len(a) + len(b) and both[len(a) :] == b)
    assert len(lengths) > 3
