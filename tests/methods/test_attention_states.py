"""Latents, states and branches: MLA, linear attention, native sparse attention."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.counting import count
from benchmarks.models.attention import Attention, rotary, rotate
from methods.attention.branches import ThreeBranches
from methods.attention.latent_attention import Latent
from methods.attention.linear_attention import Linear, phi
from methods.attention.outermost import keys_outermost, pairs_of

LENGTH = 50
LAYERS = {
    "latent": lambda: Latent(16, 4, 6, 2),
    "linear": lambda: Linear(16, 2),
    "branches": lambda: ThreeBranches(16, 2, 4, 3, 5),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Any:
    return LAYERS[request.param]().double()


def text(length: int = LENGTH) -> Tensor:
    return torch.randn(2, length, 16).double()


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=1e-11, rtol=0)


def test_decoding_equals_prefill(layer: Any) -> None:
    x, cache = text(), layer.new_cache()
    parts = [layer(x[:, :7], cache), layer(x[:, 7:20], cache)]
    parts += [layer(x[:, at : at + 1], cache) for at in range(20, LENGTH)]
    close(torch.cat(parts, 1), layer(x))
    assert cache.length == LENGTH


@pytest.mark.parametrize("split", [1, 3, 4, 49])
def test_a_text_in_two_parts(layer: Any, split: int) -> None:
    x, cache = text(), layer.new_cache()
    close(torch.cat((layer(x[:, :split], cache), layer(x[:, split:], cache)), 1), layer(x))


def test_the_future_changes_nothing(layer: Any) -> None:
    x = text()
    changed = x.clone()
    changed[:, 21] += 1
    close(layer(x)[:, :21], layer(changed)[:, :21])
    assert ((layer(x) - layer(changed))[:, 21:].abs().amax((0, 2)) > 1e-9).all() or isinstance(
        layer, ThreeBranches
    )


def test_a_step_can_be_repeated(layer: Any) -> None:
    x, cache = text(), layer.new_cache()
    layer(x[:, :31], cache)
    first, held = layer(x[:, 31:32], cache), cache.bytes()
    for _ in range(2):
        cache.rewind(31)
        assert cache.length == 31
        assert torch.equal(layer(x[:, 31:32], cache), first)
    assert cache.bytes() == held


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("latent", 2 * 50 * (6 + 2)),  # a latent and a turned key a token, whatever the heads
        ("linear", 2 * 2 * (8 * 8 + 8)),  # a matrix and a vector a head, whatever the length
        # 12 blocks of 4, all 50, two raw tokens of block 13, the last 4; keys and values, two heads of 8
        ("branches", 2 * 2 * 2 * (12 + 50 + 2 + 4) * 8),
    ],
)
def test_cache_bytes_by_hand(name: str, numbers: int) -> None:
    layer = LAYERS[name]()
    cache = layer.new_cache()
    layer(text().float(), cache)
    assert cache.bytes() == 4 * numbers


# ---------------------------------------------------------------- latent attention


def test_the_absorbed_form_is_the_plain_one_forward_and_gradient() -> None:
    layer = Latent(16, 4, 6, 2).double()
    parts = [torch.randn(2, *shape).double().requires_grad_() for shape in
             ((4, LENGTH, 4), (4, LENGTH, 2), (1, LENGTH, 6), (1, LENGTH, 2))]  # fmt: skip
    plain, absorbed = layer.plain(*parts), layer.absorbed(*parts)
    close(absorbed, plain)
    seed = torch.randn_like(plain)
    wanted = [*parts, layer.up_k.weight, layer.up_v.weight]
    for a, b in zip(*(torch.autograd.grad(out, wanted, seed) for out in (plain, absorbed)), strict=True):
        close(a, b)


def test_latent_attention_is_the_papers_equations() -> None:
    layer, x = Latent(16, 4, 6, 2).double(), text(9)
    cos, sin = rotary(9, 2)
    c, q = layer.norm(layer.down(x)), layer.q(x).unflatten(-1, (4, 6))
    k_turned = rotate(layer.key(x), cos, sin)
    out = []
    for head in range(4):
        q_turned = rotate(q[:, :, head, 4:], cos, sin)
        k, v = (up(c)[..., 4 * head : 4 * head + 4] for up in (layer.up_k, layer.up_v))
        scores = q[:, :, head, :4] @ k.transpose(1, 2) + q_turned @ k_turned.transpose(1, 2)
        scores = (scores / 6**0.5).masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf"))
        out.append(scores.softmax(-1) @ v)
    close(layer(x), layer.out(torch.cat(out, -1)))


def test_an_odd_rotary_width_is_refused() -> None:
    with pytest.raises(ValueError, match="rotary is 3, and only pairs"):
        Latent(16, 4, 6, 3)


# ---------------------------------------------------------------- linear attention


def test_the_recurrence_is_the_definition() -> None:
    layer, x = Linear(16, 2).double(), text(70)  # longer than a chunk
    q, k, v = (part(x).unflatten(-1, (2, 8)).transpose(1, 2) for part in (layer.q, layer.k, layer.v))
    cos, sin = rotary(70, 8)
    q, k = phi(q), phi(k)
    turned_q, turned_k = rotate(q, cos, sin), rotate(k, cos, sin)
    state, norm, rows = torch.zeros(2, 2, 8, 8).double(), torch.zeros(2, 2, 8).double(), []
    for at in range(70):
        state = state + turned_k[:, :, at, :, None] * v[:, :, at, None]
        norm = norm + k[:, :, at]
        row = (turned_q[:, :, at, None] @ state)[:, :, 0] / (q[:, :, at] * norm).sum(-1, keepdim=True)
        rows.append(row)
    close(layer(x), layer.out(torch.stack(rows, 2).transpose(1, 2).flatten(2)))
    cache = layer.new_cache()
    layer(x, cache)
    close(cache.state["state"], state)
    close(cache.state["norm"], norm)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 130])
def test_chunks_are_the_parallel_form(length: int) -> None:
    layer = Linear(16, 2).double()
    q, k, v = torch.randn(3, 2, 2, length, 8).double()
    weights = (phi(q) @ phi(k).transpose(2, 3)).tril()
    close(layer.attend(q, k, v), weights @ v / weights.sum(-1, keepdim=True))
    close(layer.attend(q[:, :, -1:], k, v), layer.attend(q, k, v)[:, :, -1:])


def test_an_operators_step_costs_the_same_behind_any_length() -> None:
    layer, flops = Linear(16, 2), []
    for length in (100, 1000):
        q, k, v = torch.randn(3, 1, 2, length, 8)
        layer.attend(q[:, :, -1:], k, v)
        flops.append(count(lambda q=q, k=k, v=v: layer.attend(q[:, :, -1:], k, v)).flops)
    assert flops[0] == flops[1] > 0


# ---------------------------------------------------------------- native sparse attention


def test_choosing_every_block_is_full_attention() -> None:
    layer, full = ThreeBranches(16, 2, 4, 20, 5).double(), Attention(16, 2).double()
    q, k, v = full.project(text())
    squeezed = layer.squeezed(k[:, :, :48], v[:, :, :48])
    only_fine = torch.tensor([0.0, 1.0, 0.0]).double()
    mixed = layer.mixed(q, squeezed, (k, v), (k, v), only_fine)
    close(mixed, full.attend(q, k, v))


def test_branches_are_the_papers_equations() -> None:
    layer = ThreeBranches(16, 2, 4, 3, 5).double()
    q, k, v = torch.randn(3, 1, 2, 18, 8).double()
    rough, weights = layer.rough(q, *layer.squeezed(k[:, :, :16], v[:, :, :16]), 18)
    chosen = layer.choice(weights, 18)
    flat = (k[0, 1, 4:8] + layer.place).flatten()
    close(layer.squeezed(k[:, :, :16], v[:, :, :16])[0][0, 1, 1], layer.squeeze_k(flat))
    for head, at in itertools.product(range(2), range(18)):
        over, own = (at + 1) // 4, at // 4
        keys, values = (x[0, head, :over] for x in layer.squeezed(k[:, :, :16], v[:, :, :16]))
        row = (keys @ q[0, head, at] / 8**0.5).softmax(0)
        close(rough[0, head, at], row @ values if over else torch.zeros(8).double())
        between = sorted(range(1, own), key=lambda j, row=row: -row[j].item())
        wanted = {own, 0, *between[:1]}
        assert set(chosen[0, head, at].tolist()) - {-1} == wanted


def test_gates_weigh_the_branches() -> None:
    layer, x = ThreeBranches(16, 2, 4, 3, 5).double(), text()
    layer.gate.weight.data.zero_()
    outs = []
    for branch in (None, 0, 1, 2):
        layer.gate.bias.data.fill_(-60.0 if branch is not None else 60.0)
        if branch is not None:
            layer.gate.bias.data[branch::3] = 60.0
        outs.append(layer(x))
    close(outs[0], outs[1] + outs[2] + outs[3])
    assert min((outs[a] - outs[b]).abs().max() for a, b in ((1, 2), (1, 3), (2, 3))) > 1e-3


@pytest.mark.parametrize(("length", "block", "blocks"), [(64, 8, 3), (61, 8, 3), (40, 4, 9)])
def test_keys_outermost_is_masked_attention_forward_and_gradient(
    length: int, block: int, blocks: int
) -> None:
    inputs = [torch.randn(2, 3, length, 4).double().requires_grad_() for _ in range(3)]
    own = torch.arange(length) // block
    draws = torch.rand(2, 3, length, -(-length // block)).masked_fill(
        torch.arange(-(-length // block)) >= own[:, None], -1.0
    )
    best = draws.topk(min(blocks - 1, draws.shape[3]), 3)
    chosen = torch.cat((own.expand(2, 3, -1)[..., None], torch.where(best.values < 0, -1, best.indices)), 3)
    mask = pairs_of(chosen, block, length)
    assert mask.sum(-1).max() <= blocks * block and not mask.triu(1).any()
    wanted = F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    mixed = keys_outermost(*inputs, chosen, block)
    close(mixed, wanted)
    seed = torch.randn_like(wanted)
    for got, real in zip(*(torch.autograd.grad(x, inputs, seed) for x in (mixed, wanted)), strict=True):
        close(got, real)


def test_long_texts_and_single_queries_are_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = ThreeBranches(16, 2, 4, 3, 5).double()
    q, k, v = torch.randn(3, 1, 2, 50, 8).double()
    wanted, one = layer.attend(q, k, v), layer.attend(q[:, :, -1:], k, v)
    monkeypatch.setattr("methods.attention.branches.FEW", 10)
    close(layer.attend(q, k, v), wanted)
    close(layer.attend(q[:, :, -1:], k, v), one)
    close(one, wanted[:, :, -1:])
