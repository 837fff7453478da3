"""Fixed patterns of blocks: the form that gathers, the mask, the cache; and nothing sees the future."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.models.attention import Attention
from benchmarks.models.caches import noise
from benchmarks.models.transformer import Decoder
from methods.attention.big_bird import WindowGlobalRandom
from methods.attention.blocks import BlockAttention
from methods.attention.sinks_window import SinksAndWindow
from methods.attention.strided_blocks import NearAndStrided
from methods.attention.swap import adopt, swapped

LENGTH = 90
PATTERNS: dict[str, tuple[type[BlockAttention], dict[str, Any]]] = {
    "sinks": (SinksAndWindow, {"sinks": 3, "window": 10}),
    "no sinks": (SinksAndWindow, {"sinks": 0, "window": 7}),
    "long window": (SinksAndWindow, {"sinks": 70, "window": 66}),
    "bird": (WindowGlobalRandom, {"block": 4, "parts": (2, 1, 2), "seed": 5}),
    "random": (WindowGlobalRandom, {"block": 4, "parts": (1, 0, 3), "seed": 5}),
    "strided": (NearAndStrided, {"block": 4, "near": 2, "stride": 3}),
    "segments": (NearAndStrided, {"block": 7, "near": 1, "stride": 2}),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=PATTERNS)
def layer(request: pytest.FixtureRequest) -> BlockAttention:
    kind, knobs = PATTERNS[request.param]
    return kind(16, 4, kv_heads=2, **knobs).double()


def operands(queries: int = LENGTH, keys: int = LENGTH, grad: bool = False) -> list[Tensor]:
    shapes = ((2, 4, queries, 4), (2, 2, keys, 4), (2, 2, keys, 4))
    return [torch.randn(shape).double().requires_grad_(grad) for shape in shapes]


@pytest.mark.parametrize("group", [1, 5, 16])
def test_gathering_equals_the_mask_forward_and_gradient(
    layer: BlockAttention, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("methods.attention.blocks.GROUP", group)
    inputs = operands(grad=True)
    gathered = layer._gathered(*inputs)
    wanted = F.scaled_dot_product_attention(*inputs, attn_mask=layer.mask(LENGTH, LENGTH), enable_gqa=True)
    torch.testing.assert_close(gathered, wanted, atol=1e-12, rtol=0)
    seed = torch.randn_like(wanted)
    for got, real in zip(
        torch.autograd.grad(gathered, inputs, seed), torch.autograd.grad(wanted, inputs, seed), strict=True
    ):
        torch.testing.assert_close(got, real, atol=1e-12, rtol=0)


@pytest.mark.parametrize("queries", [LENGTH, 5, 1])
def test_attend_equals_the_mask_that_is_reported(layer: BlockAttention, queries: int) -> None:
    q, k, v = operands(queries)
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=layer.mask(queries, LENGTH), enable_gqa=True)
    torch.testing.assert_close(layer.attend(q, k, v), wanted, atol=1e-12, rtol=0)


def test_a_shorter_text_has_the_beginning_of_the_pattern(layer: BlockAttention) -> None:
    whole = layer.mask(LENGTH, LENGTH)
    assert whole.diagonal().all() and not whole.triu(1).any()
    for length in (1, 4, 33, 64, 89):
        assert torch.equal(layer.mask(length, length), whole[:length, :length])
        assert torch.equal(layer.mask(1, length)[0], whole[length - 1, :length])


def test_a_cache_forgets_nothing_that_is_read(layer: BlockAttention) -> None:
    x = torch.randn(2, LENGTH, 16).double()
    whole, cache = layer(x), layer.new_cache()
    parts = [layer(x[:, :20], cache), layer(x[:, 20:31], cache)]
    parts += [layer(x[:, at : at + 1], cache) for at in range(31, LENGTH)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=0)
    ever = layer.mask(2 * LENGTH, 2 * LENGTH)[LENGTH:, :LENGTH].any(0)
    kept = cache.state["at"]
    assert set(ever.nonzero().flatten().tolist()) <= set(kept.tolist())
    assert cache.bytes() == 2 * 2 * 2 * len(kept) * 4 * 8  # k and v, batch, heads, tokens, width, float64


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        # the next query is 90: it reads 0-2 and 81-89 of these
        ("sinks", 3 + 9),
        ("no sinks", 6),
        # block 22 is the next query's: near are block 21 and two tokens of 22; columns are 2, 5 ... 20
        ("strided", 8 * 4 + 2),
        # block 12 has 6 tokens already and only its own is near; 1, 3, 5, 7, 9, 11 are columns
        ("segments", 6 * 7 + 6),
        ("bird", 90),
    ],
)
def test_what_is_kept_by_hand(name: str, kept: int) -> None:
    kind, knobs = PATTERNS[name]
    layer = kind(16, 4, kv_heads=2, **knobs)
    cache = layer.new_cache()
    cache.append(*torch.randn(2, 1, 2, LENGTH, 4))
    assert cache.bytes() == 2 * 2 * kept * 4 * 4


def test_patterns_by_hand() -> None:
    strided = NearAndStrided(16, 4, block=1, near=2, stride=3).mask(7, 7)
    assert [row.nonzero().flatten().tolist() for row in strided] == [
        [0], [0, 1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [2, 5, 6],
    ]  # fmt: skip
    sinks = SinksAndWindow(16, 4, sinks=1, window=2).mask(5, 5)
    assert [row.nonzero().flatten().tolist() for row in sinks] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 2, 3],
        [0, 3, 4],
    ]
    bird = WindowGlobalRandom(16, 4, block=1, parts=(2, 1, 1), seed=0).mask(40, 40)
    assert bird.sum(1).tolist() == [1, 2, 3, *[4] * 37]


def test_random_blocks_differ_by_seed_and_query_and_are_spread_evenly() -> None:
    masks = [WindowGlobalRandom(16, 4, block=1, parts=(1, 0, 1), seed=s).mask(400, 400) for s in range(2)]
    assert not torch.equal(*masks)
    drawn = masks[0].tril(-1).double().argmax(1)[1:] / torch.arange(1, 400)
    assert 0.45 < drawn.mean() < 0.55 and drawn.unique().numel() > 300


def test_noise_is_uniform_and_depends_on_every_place() -> None:
    at = torch.arange(300)
    draws = noise(7, at[:, None], at[None])
    assert draws.min() >= 0 and draws.max() < 1 and draws.unique().numel() > 89_990
    assert (torch.histc(draws, 10, 0, 1) - 9000).abs().max() < 500
    assert torch.equal(noise(7, at[5:6], at[9:10]), draws[5, 9:10])
    assert abs(torch.corrcoef(torch.stack((draws[:, :-1].flatten(), draws[:, 1:].flatten())))[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        (SinksAndWindow, {"sinks": 0, "window": LENGTH}),
        (SinksAndWindow, {"sinks": LENGTH, "window": 1}),
        (NearAndStrided, {"block": 4, "near": 99, "stride": 3}),
        (NearAndStrided, {"block": 4, "near": 1, "stride": 1}),
        (WindowGlobalRandom, {"block": 4, "parts": (1, 0, 99), "seed": 0}),
    ],
)
def test_a_full_budget_is_full_attention(kind: Any, knobs: dict[str, Any]) -> None:
    full = Attention(16, 4, 2).double()
    x = torch.randn(2, LENGTH, 16).double()
    sparse = adopt(kind, full, **knobs)
    torch.testing.assert_close(sparse(x), full(x), atol=1e-12, rtol=0)
    assert sparse.mask(LENGTH, LENGTH).equal(full.mask(LENGTH, LENGTH))


def test_the_future_changes_nothing(layer: BlockAttention) -> None:
    x = torch.randn(1, LENGTH, 16).double()
    changed = x.clone()
    changed[:, 50] += 1
    torch.testing.assert_close(layer(x)[:, :50], layer(changed)[:, :50], atol=0, rtol=0)
    assert (layer(x)[:, 50] != layer(changed)[:, 50]).any()


def test_a_step_can_be_taken_back_and_no_more() -> None:
    layer = SinksAndWindow(16, 4, sinks=2, window=5)
    x, cache = torch.randn(1, 30, 16), layer.new_cache()
    layer(x[:, :20], cache)
    first = layer(x[:, 20:21], cache)
    cache.rewind(20)
    assert cache.length == 20
    assert torch.equal(layer(x[:, 20:21], cache), first)
    with pytest.raises(ValueError, match="19 tokens lie before the last call"):
        cache.rewind(19)


def test_swapping_keeps_weights_and_finds_each_layer_once() -> None:
    model = Decoder(11, 16, 3, 4).double()
    text, layers = torch.randint(11, (2, 40)), []

    def make(layer: int, old: Attention) -> Attention:
        layers.append(layer)
        return adopt(SinksAndWindow, old, sinks=0, window=40)

    wanted = model(text)
    assert swapped(model, make) is model
    assert layers == [0, 1, 2]
    torch.testing.assert_close(model(text), wanted, atol=1e-12, rtol=0)
    alone = Attention(16, 4)
    assert swapped(alone, make).q is alone.q
