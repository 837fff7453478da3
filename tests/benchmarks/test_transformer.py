"""The decoder and its attention: identities in float64, no data."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from benchmarks.counting import count
from benchmarks.models.attention import Attention, KeyValueCache, rotary, rotate
from benchmarks.models.transformer import Decoder, SwiGlu

HEADS = [(4, 4), (4, 2), (4, 1), (2, 2), (1, 1)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def decoder(heads: int = 4, kv_heads: int = 2, **slots) -> Decoder:
    slots.setdefault("mixer", lambda layer, width: Attention(width, heads, kv_heads, head_width=4))
    return Decoder(11, width=16, depth=2, heads=4, **slots).double().eval()


def tokens(batch: int = 3, length: int = 20) -> Tensor:
    return torch.randint(11, (batch, length))


def naive(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """One query at a time, from the definition."""
    out = torch.zeros_like(q)
    share = q.shape[1] // k.shape[1]
    for b, h, i in itertools.product(*map(range, q.shape[:3])):
        seen = mask[i].nonzero()[:, 0]
        scores = k[b, h // share, seen] @ q[b, h, i] / q.shape[-1] ** 0.5
        out[b, h, i] = scores.exp() @ v[b, h // share, seen] / scores.exp().sum()
    return out


@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
@pytest.mark.parametrize("causal", [True, False])
def test_attend_is_the_definition(heads: int, kv_heads: int, causal: bool) -> None:
    layer = Attention(16, heads, kv_heads, head_width=4, causal=causal)
    for queries, keys in ((7, 7), (1, 7), (3, 7)):
        q, k, v = (
            torch.randn(2, n, m, 4).double()
            for n, m in ((heads, queries), (kv_heads, keys), (kv_heads, keys))
        )
        assert torch.allclose(layer.attend(q, k, v), naive(q, k, v, layer.mask(queries, keys)), atol=1e-12)


def test_causal_mask_lines_queries_up_with_the_last_keys() -> None:
    mask = Attention(8, 2).mask(2, 4)
    assert mask.tolist() == [[True, True, True, False], [True, True, True, True]]


@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_cache_changes_nothing(heads: int, kv_heads: int) -> None:
    model, text = decoder(heads, kv_heads), tokens(length=60)
    whole = model(text)
    cache = model.new_cache()
    pieces = [model.prefill(text[:, :9], cache), model.prefill(text[:, 9:14], cache)]
    pieces += [model.step(text[:, at], cache) for at in range(14, 60)]  # the room doubles on the way
    places = [8, 13, *range(14, 60)]
    assert torch.allclose(torch.stack(pieces, 1), whole[:, places], atol=1e-12)
    assert cache.length == 60


def test_a_step_can_be_repeated_after_rewinding() -> None:
    model, text = decoder(), tokens()
    cache = model.new_cache()
    model.prefill(text[:, :10], cache)
    first = model.step(text[:, 10], cache)
    model.step(text[:, 11], cache)
    cache.rewind(10)
    assert torch.equal(model.step(text[:, 10], cache), first)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_cache_bytes_by_hand(kv_heads: int) -> None:
    model = decoder(4, kv_heads).float()
    cache = model.new_cache()
    assert cache.bytes() == 0
    model.prefill(tokens(batch=3, length=10), cache)
    assert (
        cache.bytes() == 2 * 2 * 3 * kv_heads * 10 * 4 * 4
    )  # k and v, layers, batch, heads, tokens, width, float32


def test_cache_returns_what_was_put_in() -> None:
    cache, put = KeyValueCache(), []
    for length in (5, 1, 40, 1, 1, 300):
        put.append(torch.randn(2, 3, length, 4))
        keys, values = cache.append(put[-1], -put[-1])
    assert torch.equal(keys, torch.cat(put, 2))
    assert torch.equal(values, -keys)


def test_the_future_changes_nothing_before_it() -> None:
    model, text = decoder(), tokens()
    changed = text.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 11
    before, after = model(text), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] != after[:, 12:]).any(-1).all()


def test_an_encoder_sees_the_future() -> None:
    model, text = Decoder(11, 16, 2, 4, causal=False).double(), tokens()
    changed = text.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 11
    assert (model(text)[:, :12] != model(changed)[:, :12]).any(-1).all()


def test_rows_of_a_batch_do_not_meet() -> None:
    model, text = decoder(), tokens()
    alone = torch.cat([model(row[None]) for row in text])
    assert torch.allclose(model(text), alone, atol=1e-12)


def test_as_many_key_heads_as_query_heads_is_multi_head_attention() -> None:
    full, grouped = Attention(16, 4), Attention(16, 4, kv_heads=4)
    grouped.load_state_dict(full.state_dict())
    x = torch.randn(2, 9, 16)
    assert torch.equal(full(x), grouped(x))


def test_grouped_queries_are_multi_head_attention_with_repeated_keys() -> None:
    grouped, full = Attention(16, 4, 2).double(), Attention(16, 4).double()
    weights = grouped.state_dict()
    for name in ("k.weight", "v.weight"):
        weights[name] = weights[name].unflatten(0, (2, 4)).repeat_interleave(2, 0).flatten(0, 1)
    full.load_state_dict(weights)
    x = torch.randn(2, 9, 16).double()
    assert torch.allclose(full(x), grouped(x), atol=1e-14)


def test_rotation_keeps_lengths_and_knows_only_distances() -> None:
    cos, sin = rotary(50, 8)
    q, k = torch.randn(2, 8).double()
    turned_q, turned_k = rotate(q.expand(50, 8), cos, sin), rotate(k.expand(50, 8), cos, sin)
    assert torch.allclose(turned_q.norm(dim=1), q.norm().expand(50), atol=1e-13)
    assert torch.equal(turned_q[0], q)
    products = turned_q @ turned_k.T
    for distance in (0, 1, 7, 30):
        along = products.diagonal(-distance)
        assert torch.allclose(along, along[:1].expand(len(along)), atol=1e-12)
    assert abs(products[30, 0] - products[0, 0]) > 1e-3


def test_rotation_by_hand() -> None:
    cos, sin = rotary(3, 2, base=123.0)  # one pair: frequency 1
    turned = rotate(torch.tensor([1.0, 0.0]).double().expand(3, 2), cos, sin)
    angle = torch.arange(3).double()
    assert torch.allclose(turned, torch.stack((angle.cos(), angle.sin()), 1), atol=1e-15)


def test_a_model_that_answered_can_be_trained() -> None:
    model, text = decoder(), tokens()
    with torch.inference_mode():
        model(text)
    model(text).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_flops_of_a_layer_by_hand(heads: int, kv_heads: int) -> None:
    n, width, size = 24, 16, 4
    layer = Attention(width, heads, kv_heads, head_width=size)
    x = torch.randn(1, n, width)
    projections = 2 * n * width * size * (2 * heads + 2 * kv_heads)
    pairs = n * (n + 1) // 2
    assert count(layer, x).flops == projections + 4 * pairs * heads * size


def test_parameters_of_the_text_model_by_hand() -> None:
    model = Decoder(89, 64, 2, 4)
    block = 4 * 64 * 64 + 3 * 64 * 192 + 2 * 64
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 * 89 * 64 + 2 * block + 64
    assert abs(model.embed.weight.std().item() - 0.1) < 0.005


def test_slots_are_functions_of_layer_and_width() -> None:
    asked: list[tuple[str, int, int]] = []

    def slot(name, make):
        def made(layer: int, width: int) -> nn.Module:
            asked.append((name, layer, width))
            return make(width)

        return made

    model = Decoder(
        11, 16, 2, 4,
        mixer=slot("mixer", lambda width: Attention(width, 4)),
        ffn=slot("ffn", lambda width: SwiGlu(width, 8)),
        norm=slot("norm", lambda width: nn.LayerNorm(width)),
    )  # fmt: skip
    assert sorted(asked) == sorted(
        [(name, layer, 16) for name in ("mixer", "ffn", "norm", "norm") for layer in (0, 1)]
        + [("norm", 2, 16)]
    )
    assert model(tokens()).shape == (3, 20, 11)


def test_a_block_stands_for_its_parts() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor, cache=None) -> Tensor:
            return x

    model = Decoder(11, 16, 3, 4, block=lambda layer, width: Nothing())
    text = tokens()
    assert torch.equal(model(text), model.head(model.norm(model.embed(text))))
    with pytest.raises(ValueError, match="either `block` or"):
        Decoder(11, 16, block=lambda layer, width: Nothing(), ffn=lambda layer, width: Nothing())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((16, 4, 3), "3 key heads do not divide 4"), ((12, 4), "must be even"), ((16, 4, 0), "do not divide")],
)
def test_impossible_heads_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attention(*arguments)
