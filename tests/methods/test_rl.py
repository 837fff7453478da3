"""Policy methods: advantages, the clipped loss and its gradient, the loop, and what it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.models.chain_decode import AnsweringAttention, Answers, answer, answer_logp
from benchmarks.models.transformer import Decoder
from benchmarks.run import Run
from benchmarks.tasks.base import Recipe
from methods.base import Method
from methods.rl.grpo import Grpo
from methods.rl.policy import Batch, Rollouts, clipped, group_advantage, sample, token_weights
from methods.rl.shuffled_reward import ShuffledReward

END, PAD, LUCKY = 5, 6, 3


class Guess:
    """A task: one token is asked for; right is LUCKY, with whatever follows until END."""

    room = 4
    recipe = Recipe(steps=40, batch=1, lr=0.01)

    def prompts(self, items: Mapping[str, Tensor]) -> Tensor:
        return items["tokens"]

    def answer(self, model: nn.Module, items: Mapping[str, Tensor], numbers: Tensor | None = None) -> Answers:
        return answer(model, items["tokens"], self.room, END, PAD, numbers)

    def verify(self, items: Mapping[str, Tensor], tokens: Tensor) -> np.ndarray:
        return (tokens[:, 0] == LUCKY).numpy()


def make_run(method: Method, seed: int = 0) -> Run:
    train = {"tokens": torch.arange(20).remainder(5).view(10, 2)}
    return Run(Guess(), method, seed, torch.device("cpu"), train, {"tokens": train["tokens"][:2]})


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Decoder(7, 16, 1, 2, mixer=lambda layer, width: AnsweringAttention(width, 2), embedding_std=0.5)


def share_of_luck(model: nn.Module, run: Run) -> float:
    with torch.no_grad():
        return float(model(run.train["tokens"])[:, -1].softmax(-1)[:, LUCKY].mean())


def make_batch(model: nn.Module, rows: int = 12) -> Batch:
    """Sampled answers in float64 with advantages of both signs."""
    asked = torch.randint(0, 5, (rows, 3), generator=torch.Generator().manual_seed(5))
    numbers = torch.rand(rows, 8, generator=torch.Generator().manual_seed(6))
    said = answer(model, asked, 8, END, PAD, numbers)
    advantage = torch.linspace(-1.5, 1.5, rows, dtype=torch.float64)
    return Batch(asked, said.tokens, said.logp, said.length, advantage)


# ---------------------------------------------------------------- advantages and weights


def test_advantages_by_hand():
    found = group_advantage(torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    half = 0.5 / (1 / 3) ** 0.5
    wanted = torch.tensor([[half, -half, -half, half], [1.5, -0.5, -0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_equal_rewards_give_no_advantage_whatever_they_are():
    assert (group_advantage(torch.full((3, 7), 0.1)) == 0).all()


def test_advantages_do_not_see_the_scale_of_rewards():
    rewards = torch.rand(4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(group_advantage(5 * rewards - 2, 0.0), group_advantage(rewards, 0.0))


def test_token_weights_by_hand():
    length = torch.tensor([1, 3])
    of = lambda how: token_weights(length, 3, how, room=6).tolist()  # noqa: E731
    assert of("answer") == [[0.5, 0.0, 0.0], pytest.approx([1 / 6] * 3)]
    assert of("token") == [[0.25, 0.0, 0.0], [0.25] * 3]
    assert of("constant") == [pytest.approx([1 / 12, 0.0, 0.0]), pytest.approx([1 / 12] * 3)]
    with pytest.raises(ValueError, match="answer, token, constant"):
        of("mean")


# ---------------------------------------------------------------- the loss


def test_the_clip_by_hand():
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5])
    up = clipped(ratio, torch.tensor(2.0), 0.2, 0.3).tolist()
    down = clipped(ratio, torch.tensor(-2.0), 0.2, 0.3).tolist()
    assert up == pytest.approx([1.0, 1.8, 2.0, 2.2, 2.6])
    assert down == pytest.approx([-1.6, -1.8, -2.0, -2.2, -3.0])


def test_a_clipped_token_gets_no_gradient():
    ratio = torch.tensor([0.5, 0.9, 1.1, 1.5], requires_grad=True)
    for advantage, moves in ((1.0, [True, True, True, False]), (-1.0, [False, True, True, True])):
        (gradient,) = torch.autograd.grad(clipped(ratio, torch.tensor(advantage), 0.2, 0.2).sum(), ratio)
        assert (gradient != 0).tolist() == moves


@pytest.mark.parametrize("aggregation", ["answer", "token", "constant"])
def test_where_nothing_moved_the_gradient_is_reinforce_with_baseline(aggregation):
    """At ratio 1: - sum_i A_i sum_t w_it grad log p_it."""
    model = make_model().double()
    batch = make_batch(model)
    loss, ratio = Grpo(aggregation=aggregation).loss(model, batch, room=8)
    inside = torch.arange(ratio.shape[1]) < batch.length[:, None]
    torch.testing.assert_close(ratio[inside], torch.ones_like(ratio[inside]), rtol=1e-9, atol=1e-9)
    found = torch.autograd.grad(loss, list(model.parameters()))
    logp, wanted = answer_logp(model, batch.prompts, batch.tokens), torch.zeros((), dtype=torch.float64)
    rows, tokens = len(logp), int(batch.length.sum())
    for row, length in enumerate(batch.length.tolist()):
        weight = {"answer": 1 / length / rows, "token": 1 / tokens, "constant": 1 / 8 / rows}[aggregation]
        wanted = wanted - weight * batch.advantage[row] * logp[row, :length].sum()
    torch.testing.assert_close(
        found, torch.autograd.grad(wanted, list(model.parameters())), rtol=1e-6, atol=1e-8
    )


def test_an_advantage_of_0_moves_nothing():
    model = make_model().double()
    batch = replace(make_batch(model), advantage=torch.zeros(12, dtype=torch.float64))
    loss, _ = Grpo().loss(model, batch, room=8)
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, list(model.parameters())))


# ---------------------------------------------------------------- the loop


def test_rollouts_stand_in_groups_and_their_tokens_are_counted():
    run = make_run(Grpo())
    rolled = sample(make_model(), run, prompts=3, group=4)
    assert rolled.tokens.shape[0] == 12 and rolled.grouped(rolled.right).shape == (3, 4)
    assert (rolled.prompts.view(3, 4, 2) == rolled.prompts.view(3, 4, 2)[:, :1]).all()
    assert run.log.spent == {"tokens": int(rolled.length.sum())}
    assert torch.equal(rolled.right, rolled.tokens[:, 0] == LUCKY)
    assert len({tuple(row.tolist()) for row in rolled.tokens}) > 3


def test_what_is_rewarded_becomes_likelier():
    method = Grpo(turns=25, prompts=8, group=8, minibatches=2, rate=5e-3)
    run, model = make_run(method), make_model()
    before = share_of_luck(model, run)
    method.adapt(model, run)
    assert before < 0.3 and share_of_luck(model, run) > 0.9
    notes = run.log.notes
    assert notes["right_last"] > 0.8 > notes["right_first"] and notes["live_last"] < notes["live_first"]


def test_shuffled_rewards_teach_nothing():
    knobs = {"turns": 25, "prompts": 8, "group": 8, "minibatches": 2, "rate": 5e-3}
    gains = []
    for seed in range(3):
        run, model = make_run(ShuffledReward(**knobs), seed), make_model(seed)
        before = share_of_luck(model, run)
        gains.append(share_of_luck(run.method.adapt(model, run), run) - before)
    assert np.mean(gains) < 0.2


def test_shuffling_keeps_the_rewards_of_each_group():
    run = make_run(ShuffledReward())
    rolled = sample(make_model(), run, prompts=20, group=8)
    rewards = run.method.rewards(rolled, run)
    assert torch.equal(rolled.grouped(rewards).sum(1), rolled.grouped(rolled.right.float()).sum(1))
    assert not torch.equal(rewards, rolled.right.float())


def test_one_minibatch_clips_nothing_and_many_do():
    shares = {}
    for minibatches in (1, 4):
        method = Grpo(turns=6, prompts=8, group=8, minibatches=minibatches, rate=0.02)
        run = make_run(method)
        method.adapt(make_model(), run)
        shares[minibatches] = run.log.notes["clipped_share"]
    assert shares[1] == 0 and shares[4] > 0.01


@pytest.mark.parametrize("knobs", [{"rate": 0.0}, {"turns": 0}, {"budget": 0.0}, {"lr_factor": 0.0}])
def test_nothing_moves_without_rate_or_turns(knobs):
    method = Grpo(**{"turns": 3, "prompts": 4, "group": 4, "rate": 0.01, **knobs})
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    method.adapt(model, make_run(method))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_weights():
    found = []
    for seed in (0, 0, 1):
        method = Grpo(turns=2, prompts=4, group=4, rate=0.01)
        found.append(method.adapt(make_model(), make_run(method, seed)).head.weight)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_groups_without_spread_stay_out():
    class Nobody(Grpo):
        def rewards(self, rolled: Rollouts, run: Run) -> Tensor:
            return torch.ones(len(rolled.right))

    method = Nobody(turns=2, prompts=4, group=4, rate=0.01)
    run, model = make_run(method), make_model()
    before = model.head.weight.clone()
    method.adapt(model, run)
    assert torch.equal(model.head.weight, before) and "policy" not in run.log.steps


@pytest.mark.parametrize("points", [0, 1, 3])
def test_models_are_kept_on_the_way(points):
    method = Grpo(turns=8, prompts=2, group=2, points=points)
    run = make_run(method)
    method.adapt(make_model(), run)
    wanted: dict[int, list[Any]] = {0: [], 1: [0.5], 3: [0.25, 0.5, 0.75]}
    assert list(run.log.kept) == [f"progress={share}" for share in wanted[points]]
