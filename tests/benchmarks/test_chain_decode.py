"""Sampling with a cache: the same as without, row by row, and with the probabilities that it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.models.chain_decode import AnsweringAttention, answer, answer_logp, pick, uniforms
from benchmarks.models.transformer import Decoder

END, PAD, VOCABULARY, ROOM = 5, 6, 7, 12


def decoder(leaves: bool = True) -> nn.Module:
    torch.manual_seed(3)
    slots = {"mixer": lambda layer, width: AnsweringAttention(width, 2)} if leaves else {}
    return Decoder(VOCABULARY, 16, 2, 2, embedding_std=1.0, **slots).double().eval()


def prompts(rows: int = 40) -> Tensor:
    return torch.randint(0, 5, (rows, 4), generator=torch.Generator().manual_seed(1))


def numbered(rows: int) -> Tensor:
    return uniforms([(0, row) for row in range(rows)], ROOM)


@torch.no_grad()
def slowly(model: nn.Module, prompt: Tensor, numbers: Tensor | None) -> list[int]:
    """One row, everything read again for every token."""
    seen = prompt.tolist()
    for t in range(ROOM):
        share = model(torch.tensor([seen]))[0, -1].softmax(-1)
        if numbers is None:
            token = int(share.argmax())
        else:
            token = int(torch.searchsorted(share.cumsum(-1), numbers[t].double(), right=True))
        seen.append(token)
        if token == END:
            break
    return seen[len(prompt) :]


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("leaves", [True, False])
def test_with_and_without_cache_agree(greedy, leaves):
    model, asked = decoder(leaves), prompts()
    numbers = None if greedy else numbered(len(asked))
    found = answer(model, asked, ROOM, END, PAD, numbers)
    if not greedy:  # rows end at many places, so some of them leave
        assert len(set(found.length.tolist())) > 5
    for row in range(len(asked)):
        wanted = slowly(model, asked[row], None if greedy else numbers[row])
        assert found.tokens[row, : len(wanted)].tolist() == wanted
        assert found.length[row] == len(wanted)
        assert (found.tokens[row, len(wanted) :] == PAD).all()


def test_sampled_log_probabilities_are_those_of_one_pass():
    model, asked = decoder(), prompts()
    found = answer(model, asked, ROOM, END, PAD, numbered(len(asked)))
    inside = torch.arange(found.tokens.shape[1]) < found.length[:, None]
    again = answer_logp(model, asked, found.tokens)
    torch.testing.assert_close(found.logp[inside], again[inside], rtol=1e-10, atol=1e-12)
    assert (found.logp[~inside] == 0).all() and (found.logp[inside] < 0).all()


def test_a_row_does_not_hang_on_the_others():
    model, asked = decoder(), prompts()
    numbers = numbered(len(asked))
    together = answer(model, asked, ROOM, END, PAD, numbers)
    rows = torch.tensor([31, 2, 17])
    few = answer(model, asked[rows], ROOM, END, PAD, numbers[rows])
    width = few.tokens.shape[1]
    assert torch.equal(few.tokens, together.tokens[rows, :width])
    luck = uniforms([(9, 1), (9, 2), (9, 1)], ROOM)
    assert torch.equal(luck[0], luck[2]) and not torch.equal(luck[0], luck[1])


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits = torch.tensor([0.1, 0.5, 0.0, 0.4]).log().expand(20_000, 4)
    drawn = pick(logits, torch.rand(20_000, generator=torch.Generator().manual_seed(0)))
    often = torch.bincount(drawn, minlength=4) / 20_000
    assert (often - torch.tensor([0.1, 0.5, 0.0, 0.4])).abs().max() < 0.012
    assert often[2] == 0


def test_the_ends_of_the_unit_interval_are_tokens_that_can_be():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    assert pick(logits, torch.tensor([0.0])).item() == 1
    assert pick(logits, torch.tensor([1.0 - 2.0**-24])).item() == 2
    assert pick(logits.float(), None).item() == 2


def test_a_low_temperature_is_greedy_and_keeps_the_probabilities_of_1():
    model, asked = decoder(), prompts(10)
    numbers = numbered(10)
    cold = answer(model, asked, ROOM, END, PAD, numbers, temperature=1e-4)
    assert torch.equal(cold.tokens, answer(model, asked, ROOM, END, PAD).tokens)
    inside = torch.arange(cold.tokens.shape[1]) < cold.length[:, None]
    assert cold.logp[inside].max() < -0.01
