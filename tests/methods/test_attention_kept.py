"""Caches that choose by what they have seen: H2O, random keys, SnapKV, Quest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.models.attention import Attention
from methods.attention.evict import Evicting
from methods.attention.h2o import HeavyHitters
from methods.attention.quest import PageAttention
from methods.attention.random_keys import Drawn
from methods.attention.snap_kv import Voted

LENGTH = 40
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "h2o": (HeavyHitters, {"budget": 12, "recent": 6}),
    "h2o without recent": (HeavyHitters, {"budget": 5, "recent": 0}),
    "random": (Drawn, {"budget": 12, "recent": 6, "seed": 3}),
    "quest": (PageAttention, {"page": 4, "pages": 3}),
    "quest random": (PageAttention, {"page": 4, "pages": 3, "seed": 2}),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=KINDS)
def layer(request: pytest.FixtureRequest) -> Any:
    kind, knobs = KINDS[request.param]
    return kind(16, 4, kv_heads=2, **knobs).double()


def sharp(layer: Attention) -> Attention:
    """Weights under which a few keys get much of the attention."""
    layer.q.weight.data *= 6
    return layer


def text(length: int = LENGTH, batch: int = 3) -> Tensor:
    return torch.randn(batch, length, 16).double()


def test_steps_equal_the_parallel_form(layer: Any) -> None:
    x, cache = text(), sharp(layer).new_cache()
    steps = [layer(x[:, at : at + 1], cache) for at in range(LENGTH)]
    torch.testing.assert_close(torch.cat(steps, 1), layer(x), atol=1e-12, rtol=0)
    assert cache.length == LENGTH


def test_the_output_is_that_of_the_mask_forward_and_gradient(layer: Any) -> None:
    inputs = [
        torch.randn(shape).double().requires_grad_()
        for shape in ((2, 4, LENGTH, 4), *[(2, 2, LENGTH, 4)] * 2)
    ]
    mixed, mask = layer.attend(*inputs), layer.pairs(*inputs[:2])
    mask = mask.repeat_interleave(4 // mask.shape[1], 1)
    wanted = F.scaled_dot_product_attention(*inputs, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(mixed, wanted, atol=1e-12, rtol=0)
    seed = torch.randn_like(wanted)
    for got, real in zip(
        torch.autograd.grad(mixed, inputs, seed), torch.autograd.grad(wanted, inputs, seed), strict=True
    ):
        torch.testing.assert_close(got, real, atol=1e-12, rtol=0)


def test_no_more_is_read_than_the_budget(layer: Any) -> None:
    q, k, _ = sharp(layer).project(text())
    mask = layer.pairs(q, k)
    budget = getattr(layer, "budget", 11)
    # an evicting step reads its own token beside the budget; of Quest's three pages the own one is being filled
    most = budget + isinstance(layer, Evicting)
    assert mask.sum(-1).max() <= most + (not isinstance(layer, Evicting))
    assert mask.diagonal(dim1=2, dim2=3).all() and not mask.triu(1).any()
    assert (mask.sum(-1)[..., most + 4 :] >= budget - 3).all()


def test_the_future_changes_nothing(layer: Any) -> None:
    x = text()
    changed = x.clone()
    changed[:, 25] += 3
    before, after = layer(x), layer(changed)
    torch.testing.assert_close(before[:, :25], after[:, :25], atol=0, rtol=0)
    assert (before[:, 25] != after[:, 25]).any()


def test_a_row_is_answered_alone_as_in_company(layer: Any) -> None:
    x = text()
    torch.testing.assert_close(layer(x), torch.cat([layer(row[None]) for row in x]), atol=1e-12, rtol=0)


def test_a_step_can_be_repeated(layer: Any) -> None:
    x, cache = text(), layer.new_cache()
    layer(x[:, :30], cache)
    first, held = layer(x[:, 30:31], cache), cache.bytes()
    for _ in range(2):
        cache.rewind(30)
        assert torch.equal(layer(x[:, 30:31], cache), first)
    assert cache.bytes() == held


@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        (HeavyHitters, {"budget": LENGTH, "recent": 20}),
        (Drawn, {"budget": LENGTH, "recent": 0, "seed": 0}),
        (Voted, {"budget": LENGTH, "recent": 5, "pool": 3}),
        (PageAttention, {"page": 4, "pages": 10}),
    ],
)
def test_a_full_budget_is_full_attention(kind: Any, knobs: dict[str, Any]) -> None:
    full, x = Attention(16, 4, 2).double(), text()
    chosen = kind(16, 4, kv_heads=2, **knobs).double()
    chosen.load_state_dict(full.state_dict())
    cache = chosen.new_cache()
    parts = [chosen(x[:, :20], cache)] + [chosen(x[:, at : at + 1], cache) for at in range(20, LENGTH)]
    torch.testing.assert_close(torch.cat(parts, 1), full(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(chosen(x), full(x), atol=1e-12, rtol=0)


# ---------------------------------------------------------------- by hand


def plain(kind: Any, **knobs: Any) -> Any:
    """One head of width 2; scores are q k / sqrt(2)."""
    return kind(2, 1, **knobs).double()


def test_what_h2o_keeps_by_hand() -> None:
    layer = plain(HeavyHitters, budget=2, recent=1)
    logits = torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]).double()
    q, k = logits[None, None] * 2**0.5, torch.eye(4).double()[None, None]
    layer.head_width = 2
    # token 0 gets 1, then 1/(1 + e^9): 1.0001. At 2 three are there, and 0 or 1 goes: the worth of 1 is e^9/(1+e^9)
    # = 0.9999 and of 2's weights e^2/(2+e^2) = 0.787 more, so 0 (with 0.107 more, 1.107) goes. At 3: 1 (1.787 + 1/3)
    # and 2 (0.107 + 1/3), so 2 goes
    read = [row.nonzero().flatten().tolist() for row in layer.pairs(q, k)[0, 0]]
    assert read == [[0], [0, 1], [0, 1, 2], [1, 2, 3]]
    cut = layer.staying(torch.tensor([[[1.1, 1.8, 0.1, 0.3]]]).double())
    assert cut.tolist() == [[[1, 3]]]


def test_h2o_sums_over_queries_and_the_heads_of_a_key_head() -> None:
    weights = torch.rand(2, 2, 3, 5, 7)
    wanted = torch.zeros(2, 2, 7)
    for group in range(3):
        for query in range(5):
            wanted += weights[:, :, group, query]
    torch.testing.assert_close(HeavyHitters(16, 4, budget=2, recent=1).worth(weights, 2), wanted)


def test_a_prompt_is_read_densely_and_then_cut() -> None:
    layer = sharp(HeavyHitters(16, 4, budget=8, recent=4).double())
    x, cache = text(), layer.new_cache()
    dense = Attention.attend(layer, *layer.project(x)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, cache), layer.out(dense), atol=1e-12, rtol=0)
    q, k, _ = layer.project(x)
    weights = ((q @ k.transpose(2, 3)) / 2).masked_fill(~layer.mask(LENGTH, LENGTH), -1e30).softmax(-1).sum(2)
    for batch in range(3):
        for head in range(4):
            worth = weights[batch, head, : LENGTH - 4]
            best = sorted(range(LENGTH - 4), key=lambda at, worth=worth: -worth[at])[:4]
            at = [*sorted(best), 36, 37, 38, 39]
            assert torch.equal(cache.state["keys"][batch, head], k[batch, head, at])


def test_what_snap_kv_keeps_by_hand() -> None:
    layer = plain(Voted, budget=4, recent=2, pool=3)
    weights = torch.zeros(1, 1, 1, 8, 8)
    weights[..., 6, 1], weights[..., 7, 1], weights[..., 7, 4] = 0.5, 0.2, 0.6
    weights[..., 2, 5] = 9.0  # no vote: not of the last two queries
    worth = layer.worth(weights, 0)
    # 0.7 at 1 and 0.6 at 4, shared with their neighbours: thirds of 0.7 at 0-2 and of 0.6 at 3-5
    torch.testing.assert_close(worth[0, 0], torch.tensor([0.7, 0.7, 0.7, 0.6, 0.6, 0.6, 0, 0]) / 3)
    assert layer.staying(worth)[0, 0].tolist()[2:] == [6, 7]
    assert set(layer.staying(worth)[0, 0].tolist()[:2]) < {0, 1, 2}


def test_snap_kv_keeps_what_is_said_after_the_prompt() -> None:
    layer = Voted(16, 4, budget=10, recent=4, pool=3).double()
    x, cache = text(), layer.new_cache()
    layer(x[:, :30], cache)
    assert cache.bytes() == 2 * 3 * 4 * 10 * 4 * 8
    for at in range(30, LENGTH):
        layer(x[:, at : at + 1], cache)
    assert cache.bytes() == 2 * 3 * 4 * 20 * 4 * 8


def test_random_keys_are_drawn_by_position_and_head() -> None:
    layer = Drawn(16, 4, budget=9, recent=3, seed=1)
    read = layer.pairs(*layer.project(torch.randn(2, 60, 16))[:2])
    assert torch.equal(read[0], read[1]) and not torch.equal(read[0, 0], read[0, 1])
    last = read[0, :, -1]
    assert last[:, -4:].all() and (last.sum(1) == 10).all()
    other = Drawn(16, 4, budget=9, recent=3, seed=2)
    assert not torch.equal(other.pairs(*other.project(torch.randn(2, 60, 16))[:2])[0], read[0])


def test_bounds_of_pages_are_bounds() -> None:
    layer = PageAttention(16, 4, 2, page=4, pages=2)
    q, k = torch.randn(2, 4, 6, 4), torch.randn(2, 2, 12, 4)
    low, high = (part for part in (k.unflatten(2, (3, 4)).amin(3), k.unflatten(2, (3, 4)).amax(3)))
    bound = layer.scores(q, low, high, 0)
    by_hand = torch.maximum(
        q[:, :, :, None] * low.repeat_interleave(2, 1)[:, :, None],
        q[:, :, :, None] * high.repeat_interleave(2, 1)[:, :, None],
    ).sum(-1)
    torch.testing.assert_close(bound, by_hand)
    products = (q @ k.repeat_interleave(2, 1).transpose(2, 3)).unflatten(3, (3, 4)).amax(-1)
    assert (bound >= products - 1e-5).all()


def test_quest_finds_the_page_of_the_best_key() -> None:
    layer = PageAttention(4, 1, page=4, pages=2)
    k = torch.zeros(1, 1, 20, 4)
    k[..., 6, :] = torch.tensor([1.0, -1, 1, -1])
    q = k[:, :, 6:7] * 5
    read = layer.pairs(q, k)[0, 0, 0].nonzero().flatten().tolist()
    assert read == [4, 5, 6, 7, 16, 17, 18, 19]
    v = torch.randn(1, 1, 20, 4)
    wanted = F.scaled_dot_product_attention(q, k[:, :, read], v[:, :, read])
    torch.testing.assert_close(layer.attend(q, k, v), wanted)


@pytest.mark.parametrize(
    ("kind", "knobs", "wanted"),
    [
        # k and v of 12 tokens, and what each is worth; one sequence, two key heads of width 4 in float32
        (HeavyHitters, {"budget": 12, "recent": 6}, 4 * 2 * 12 * (4 + 4 + 1)),
        (Drawn, {"budget": 12, "recent": 6, "seed": 0}, 4 * 2 * 12 * (4 + 4 + 1)),
        (Voted, {"budget": 12, "recent": 6, "pool": 3}, 4 * 2 * 12 * (4 + 4)),
        # all 40 tokens, and two bounds for each of 13 pages of 3
        (PageAttention, {"page": 3, "pages": 2}, 4 * 2 * (40 * (4 + 4) + 13 * (4 + 4))),
    ],
)
def test_cache_bytes_by_hand(kind: Any, knobs: dict[str, Any], wanted: int) -> None:
    layer = kind(16, 4, kv_heads=2, **knobs)
    cache = layer.new_cache()
    assert cache.bytes() == 0
    layer(torch.randn(1, LENGTH, 16), cache)
    assert cache.bytes() == wanted
