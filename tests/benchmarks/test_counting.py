"""The counter as a whole: it adds up, it changes nothing, it never says 0 where it does not know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import operators
from benchmarks.counting import Count, Counter, count, flops_proxy_pj, report

ROOT = Path(__file__).resolve().parents[2]
MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


class TransformerBlock(nn.Module):
    """Pre-norm, causal, heads of width 8, feed-forward of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.RMSNorm(width)])
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (-1, 8)).transpose(1, 2) for t in self.qkv(self.norms[0](x)).chunk(3, -1))
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class ConvNet(nn.Module):
    """3 x 12 x 12 -> 8 x 12 x 12 -> depthwise, stride 2 -> 16 x 6 x 6 -> 10."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
            nn.Conv2d(8, 16, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def train(model: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("mode", MODES)
def test_transformer_block(mode: str) -> None:
    batch, length, width = 2, 16, 32
    block, x = TransformerBlock(width), torch.randn(batch, length, width)
    linear = 2 * (batch * length) * (3 + 1 + 4 + 4) * width**2
    attention = 2 * batch * (width // 8) * (length * (length + 1) // 2) * (8 + 8)
    with MODES[mode]():
        assert count(block, x).flops == linear + attention


def test_a_training_step_of_the_transformer_block() -> None:
    block, x = TransformerBlock(32), torch.randn(2, 16, 32)
    linear = 2 * (2 * 16) * 12 * 32**2
    attention = 2 * 2 * 4 * (16 * 17 // 2) * 16
    for fused in (False, True):
        optimizer = torch.optim.AdamW(block.parameters(), fused=fused)
        # x needs no gradient, but the norm in front of qkv has weights: every product has both gradients
        assert count(train, block, x, optimizer).flops == 3 * linear + (1 + 5 / 2) * attention


@pytest.mark.parametrize("mode", MODES)
def test_conv_net(mode: str) -> None:
    first, depthwise, pointwise = 8 * 144 * 27, 8 * 36 * 9, 16 * 36 * 8
    forward = 2 * 4 * (first + depthwise + pointwise + 16 * 10)
    net, x = ConvNet(), torch.randn(4, 3, 12, 12)
    with MODES[mode]():
        assert count(net, x).flops == forward
    if mode == "grad":
        step = count(train, net, x, torch.optim.SGD(net.parameters(), 0.1))
        assert step.flops == 3 * forward - 2 * 4 * first  # no gradient for the images


# ---------------------------------------------------------------- it changes nothing


def everything(counted: bool, mode: str) -> list[Tensor]:
    """Two training steps, then outputs, of models that take every path."""
    torch.manual_seed(0)
    x, image = torch.randn(3, 5, 16), torch.randn(2, 3, 12, 12)
    models: list[tuple[nn.Module, Tensor]] = [(TransformerBlock(16), x), (ConvNet(), image)]
    models.append((nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.Tanh()), x))
    outputs: list[Tensor] = []
    with Counter() if counted else MODES["grad"]():
        for model, data in models:
            optimizer = torch.optim.AdamW(model.parameters())
            for _ in range(2):
                train(model, data, optimizer)
            outputs += [p.detach().clone() for p in model.parameters()]
        with MODES[mode]():
            outputs += [model(data).detach() for model, data in models]
            outputs += [nn.LSTM(16, 8)(x)[0], nn.GRU(16, 8)(x)[0], torch.fft.rfft(x).abs()]
            outputs += [torch.cdist(x, x), torch.einsum("bld,bmd->blm", x, x)]
            outputs += [F.scaled_dot_product_attention(x, x, x, dropout_p=0.3), torch.linalg.pinv(x)]
            outputs += [torch.eye(16).to_sparse_csr() @ x[0].t(), F.bilinear(x, x, torch.randn(2, 16, 16))]
    return [output.detach() for output in outputs]


@pytest.mark.parametrize("mode", MODES)
def test_results_are_the_same_bit_for_bit(mode: str) -> None:
    plain, counted = everything(False, mode), everything(True, mode)
    assert len(plain) == len(counted)
    for expected, got in zip(plain, counted, strict=True):
        assert expected.shape == got.shape and torch.equal(expected.view(torch.int32), got.view(torch.int32))


# ---------------------------------------------------------------- entering, leaving, adding up


def test_a_generator_counts_what_happens_between_its_turns() -> None:
    a = torch.randn(4, 4)

    def turns(counter: Counter) -> Iterator[int]:
        for turn in range(3):
            if turn == 1:
                with counter:
                    yield turn
            else:
                yield turn

    counter = Counter()
    for _ in turns(counter):
        a @ a
    assert counter.count().flops == 2 * 64
    for _ in turns(counter):
        a @ a
    assert counter.count().flops == 2 * (2 * 64)


def test_leaving_a_generator_early_turns_the_counter_off() -> None:
    a, counter = torch.randn(4, 4), Counter()

    def turns() -> Iterator[None]:
        with counter:
            yield

    for _ in turns():
        a @ a
        break
    a @ a
    assert counter.count().flops == 2 * 64


def test_entered_twice_at_once_counts_once_and_an_error_leaves_it() -> None:
    a, counter = torch.randn(4, 4), Counter()
    with counter, counter:
        a @ a
    with pytest.raises(ZeroDivisionError), counter:
        raise ZeroDivisionError
    a @ a
    assert counter.count().flops == 2 * 64


def test_two_counters_both_count() -> None:
    a = torch.randn(4, 4)
    with torch.inference_mode(), Counter() as outer:
        F.linear(a, a)
        with Counter() as inner:
            F.linear(a, a)
    assert (outer.count().flops, inner.count().flops) == (2 * 2 * 64, 2 * 64)


def test_a_counter_does_not_count_the_bookkeeping_of_another() -> None:
    sparse = torch.eye(4).to_sparse_csr()
    with Counter() as outer, Counter() as inner:
        sparse @ sparse  # the formula looks into the indices
    assert outer.count() == inner.count()


def test_nothing_counts_nothing() -> None:
    assert Counter().count() == Count(flops=0, bytes_moved=0, peak_live_bytes=0)


def test_counting_loads_nothing_heavy() -> None:
    program = (
        "import sys, torch; from benchmarks.counting import count; before = set(sys.modules)\n"
        "a = torch.ones(3, 3); assert count(lambda: a @ a).flops == 54\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not {"torch._dynamo", "sympy", "pandas"} & set(run.stdout.split())


# ---------------------------------------------------------------- what is not known is not 0


def test_an_operator_without_a_formula_makes_the_count_null() -> None:
    a = torch.randn(4, 4)
    result = count(lambda: torch.matrix_exp(a) @ a)
    assert (result.flops, result.unknown, result.flops_by_number) == (None, ("aten::linalg_matrix_exp",), ())
    assert result.bytes_moved > 0 and flops_proxy_pj(result) is None


def test_nested_tensors_are_unknown_rather_than_wrong() -> None:
    with torch.inference_mode():
        nested = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)])
        assert count(F.linear, nested, torch.randn(5, 4)).unknown == ("aten::linear",)


@torch.library.custom_op("joulemark_test::scatter_product", mutates_args=())
def scatter_product(a: Tensor, b: Tensor) -> Tensor:
    """What a C kernel would do: twice a @ b. Its name is like that of operators of torch that are free."""
    return 2 * (a @ b)


def test_a_custom_operator_is_unknown_until_it_has_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.randn(4, 4)
    assert count(scatter_product, a, a).unknown == ("joulemark_test::scatter_product",)
    monkeypatch.setattr(operators, "_TABLE", dict(operators._TABLE))

    @operators.formula(torch.ops.joulemark_test.scatter_product, number="int8")
    def _flops(args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> float | None:
        return 2 * args[0].numel() * kwargs["b"].shape[1] if args[0].shape[0] > 2 else None

    assert count(scatter_product, a, a).flops_by_number == (("int8", 2 * 64),)
    assert count(scatter_product, a[:2], a).unknown == ("joulemark_test::scatter_product",)
    operators.entry.cache_clear()
    operators.opening.cache_clear()


def test_a_kernel_outside_torch_reports_itself() -> None:
    def kernel(flops: int | None) -> None:
        report("sparse_gemm", flops, 40, "int8")

    kernel(7)  # nobody listens
    assert count(kernel, 8) == Count(8, 40, 0, (), (("int8", 8),))
    assert count(kernel, None).unknown == ("sparse_gemm",)


class Rank1(torch.Tensor):
    """A tensor subclass as in torchao: a matrix kept as column times row."""

    column: Tensor
    row: Tensor

    @staticmethod
    def __new__(cls, column: Tensor, row: Tensor) -> Rank1:
        made = torch.Tensor._make_wrapper_subclass(cls, (len(column), row.shape[1]), dtype=row.dtype)
        made.column, made.row = column, row
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.t.default:
            return Rank1(args[0].row.t(), args[0].column.t())
        if func is torch.ops.aten.linear.default:  # in inference mode
            return args[0] @ args[1].row.t() @ args[1].column.t()
        return args[0] @ args[1].column @ args[1].row


@pytest.mark.parametrize("mode", MODES)
def test_tensor_subclasses_are_counted_by_their_parts(mode: str) -> None:
    x, weight = torch.randn(3, 4), Rank1(torch.randn(5, 1), torch.randn(1, 4))
    with MODES[mode]():
        assert count(F.linear, x, weight).flops == 2 * 3 * 4 + 2 * 3 * 5


# ---------------------------------------------------------------- the proxy of energy


def test_the_proxy_is_the_table_of_1_citation() -> None:
    assert flops_proxy_pj(Count(2, 0, 0, (), (("float32", 2),))) == pytest.approx(3.7 + 0.9)
    assert flops_proxy_pj(Count(2, 0, 0, (), (("bfloat16", 2),))) == pytest.approx(1.1 + 0.9)
    assert flops_proxy_pj(Count(2, 0, 0, (), (("float8_e4m3fn", 2),))) == pytest.approx(1.1 + 0.9)
    assert flops_proxy_pj(Count(2, 0, 0, (), (("int8", 2),))) == pytest.approx(0.2 + 0.1)
    assert flops_proxy_pj(Count(0, 8, 0)) == pytest.approx(1300)
    assert flops_proxy_pj(Count(2, 8, 0)) == pytest.approx(4.6 + 1300)  # kind of number not given: float32
    with pytest.raises(ValueError, match="no energy per operation for 'ternary'; the table has int8, int32"):
        flops_proxy_pj(Count(2, 0, 0, (), (("ternary", 2),)))


def test_the_proxy_of_a_matmul() -> None:
    a = torch.randn(10, 10)
    with torch.no_grad():
        proxy = flops_proxy_pj(count(lambda: a @ a))
    assert proxy == pytest.approx(1000 * 4.6 + (100 + 100) * 4 * 162.5)  # `a` is read once
