"""The agents' decoder: generation equals the forward pass, sizes and costs by hand, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.models.agent_model import (
    SIZES,
    AgentModel,
    Cache,
    Size,
    load,
    rotate,
    rotation,
    save,
    size_of,
    step_cost,
)


def random_model(size: str = "xs") -> AgentModel:
    torch.manual_seed(3)
    return AgentModel(size_of(size)).double()


def double_cache(model: AgentModel, rows: int) -> Cache:
    cache = Cache(model.size, rows)
    cache.keys, cache.values = [k.double() for k in cache.keys], [v.double() for v in cache.values]
    return cache


@pytest.mark.parametrize("size", ["xxs", "xs"])
def test_steps_equal_the_forward_pass(size: str) -> None:
    """Rows at different positions, one of which starts anew on the way, and a cache that has to grow."""
    model, rows, length = random_model(size), 3, 70
    tokens = torch.randint(0, 985, (rows, length))
    cache = double_cache(model, rows)
    with torch.no_grad():
        hidden = []
        for at in range(length):
            if at == 20:
                cache.reset(torch.tensor([1]))
            hidden.append(model.step(tokens[:, at], cache))
        got = torch.stack(hidden, 1)
        want = model.hidden(tokens)
        fresh = model.hidden(tokens[1:2, 20:])
    assert torch.allclose(got[[0, 2]], want[[0, 2]], atol=1e-10)
    assert torch.allclose(got[1, :20], want[1, :20], atol=1e-10)
    assert torch.allclose(got[1, 20:], fresh[0], atol=1e-10)
    assert cache.position.tolist() == [70, 50, 70] and cache.keys[0].shape[2] == 128
    cache.keep(torch.tensor([2]))
    more = torch.tensor([5])
    with torch.no_grad():
        last = model.step(more, cache)
        whole = model.hidden(torch.cat((tokens[2:], more[:, None]), 1))
    assert torch.allclose(last[0], whole[0, -1], atol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 9, 80])
def test_a_prefilled_cache_goes_on_like_a_stepped_one(length: int) -> None:
    model = random_model()
    tokens = torch.randint(0, 985, (2, length + 3))
    cache = double_cache(model, 2)
    with torch.no_grad():
        first = model.hidden(tokens[:, :length], cache)
        rest = [model.step(tokens[:, at], cache) for at in range(length, length + 3)]
        want = model.hidden(tokens)
    assert torch.allclose(torch.cat((first, torch.stack(rest, 1)), 1), want, atol=1e-10)
    assert cache.position.tolist() == [length + 3] * 2


def test_forward_is_causal_and_sees_order() -> None:
    model = random_model()
    tokens = torch.randint(0, 985, (1, 12))
    changed = tokens.clone()
    changed[0, 8] = (changed[0, 8] + 1) % 985
    with torch.no_grad():
        a, b = model(tokens), model(changed)
    assert torch.equal(a[0, :8], b[0, :8])
    assert all(not torch.allclose(a[0, i], b[0, i]) for i in range(8, 12))
    assert model(tokens[:, :1]).shape == (1, 1, 985)


def test_rotation_is_relative() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(16, dtype=torch.double), torch.randn(16, dtype=torch.double)

    def score(i: int, j: int) -> float:
        (ci, si), (cj, sj) = (rotation(torch.tensor(at).double(), 16) for at in (i, j))
        return float(rotate(q, ci, si) @ rotate(k, cj, sj))

    assert score(30, 20) == pytest.approx(score(12, 2))
    assert score(30, 20) != pytest.approx(score(30, 21))
    assert score(7, 7) == pytest.approx(float(q @ k))


def test_sizes() -> None:
    counts = {name: sum(p.numel() for p in AgentModel(size).parameters()) for name, size in SIZES.items()}
    assert {name: round(n / 1000) for name, n in counts.items()} == {"xxs": 32, "xs": 59, "s": 221, "m": 952}
    with pytest.raises(ValueError, match="size 'xl' is not one of xxs, xs, s, m"):
        size_of("xl")


@pytest.mark.parametrize("name", SIZES)
def test_costs_are_those_of_the_tensors(name: str) -> None:
    model = AgentModel(size_of(name))
    cost = step_cost(model.size)
    maps = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    assert cost.body == 2 * maps
    assert cost.logits == 2 * model.embedding.weight.numel()
    head_width = model.size.width // model.size.heads
    assert cost.per_position == model.size.layers * model.size.heads * (2 * head_width + 2 * head_width)
    assert step_cost(Size(1, 24, 2)).body == 2 * (2 * 24 * 24 + 4 * 24 * 24 + 8 * 24 * 24)


def test_keys_start_as_queries() -> None:
    for block in random_model().blocks:
        assert torch.equal(block.key.weight, block.query.weight)
        assert not torch.equal(block.key.weight, block.value.weight)


def test_files(tmp_path: Path) -> None:
    model = random_model("xxs").float()
    save(model, tmp_path / "whole.safetensors", half=False)
    save(model, tmp_path / "half.safetensors", {"seed": "3"})
    whole, half = load(tmp_path / "whole.safetensors"), load(tmp_path / "half.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))
    assert all(
        torch.equal(a.half().float(), b) for a, b in zip(model.parameters(), half.parameters(), strict=True)
    )
    assert half.size == SIZES["xxs"] and not half.training
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (
        tmp_path / "whole.safetensors"
    ).stat().st_size
