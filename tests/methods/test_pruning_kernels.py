"""Our C kernel against a dense product in float64, what it stores, and the method that serves one kernel."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.costs import forms, size_costs
from benchmarks.counting import count
from benchmarks.models import kernels
from benchmarks.models.kernels import KNOWN, SparseProduct, library, own_forms, source
from methods.pruning.block import block_mask
from methods.pruning.sparse_kernel import SparseKernel, StoredSparse, block_of
from tests.methods.test_pruning import run_with

needs_compiler = pytest.mark.skipif(library("spmm") is None, reason="there is no C compiler here")


def sparse(rows: int, columns: int, density: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    return weight * (torch.rand(rows, columns, generator=generator) < density)


@needs_compiler
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 150), st.integers(1, 70), st.integers(1, 90), st.floats(0, 1), st.booleans(), st.sampled_from([1, 4])
)  # fmt: skip
def test_the_kernel_is_the_product(
    batch: int, rows: int, columns: int, density: float, bias: bool, group: int
) -> None:
    """All widths of panels and their ends, empty rows, groups that share columns only in part."""
    rows *= group
    weight, x = sparse(rows, columns, density), sparse(batch, columns, 1.0, seed=1)
    offset = torch.arange(float(rows)) if bias else None
    wanted = nn.functional.linear(x.double(), weight.double(), None if offset is None else offset.double())
    found = SparseProduct(weight, offset, group)(x)
    assert found.dtype == torch.float32 and torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-4)


@needs_compiler
def test_inputs_of_any_shape() -> None:
    weight, x = sparse(8, 12, 0.3), torch.randn(2, 5, 24)[..., ::2]
    assert not x.is_contiguous()
    assert torch.allclose(SparseProduct(weight, None, 1)(x), x @ weight.t(), atol=1e-5)
    assert SparseProduct(weight, None, 1)(torch.randn(0, 12)).shape == (0, 8)


@needs_compiler
def test_an_item_alone_is_as_in_company() -> None:
    product, x = SparseProduct(sparse(40, 90, 0.2), None, 1), torch.randn(70, 90)
    assert torch.allclose(torch.cat([product(one[None]) for one in x]), product(x), atol=1e-5)
    assert torch.equal(product(x)[:64], product(x[:64]))
    assert torch.equal(copy.deepcopy(product)(x), product(x))


def test_what_is_stored_by_hand() -> None:
    weight = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    one, four = SparseProduct(weight, None, 1), SparseProduct(weight, None, 4)
    assert one.begin.tolist() == [0, 1, 2, 2, 3] and one.column.tolist() == [1, 0, 1]
    assert one.value.flatten().tolist() == [2, 1, 3]
    assert four.begin.tolist() == [0, 2] and four.column.tolist() == [0, 1]
    assert four.value.tolist() == [[0, 1, 0, 0], [2, 0, 0, 3]]


@needs_compiler
def test_which_forms_there_are() -> None:
    scattered = sparse(64, 64, 0.1)
    assert set(own_forms(scattered, None)) == {"c_csr"}
    blocks = torch.ones(64, 64) * block_mask(torch.randn(64, 64), 0.8, 16)
    assert set(own_forms(blocks, None)) == {"c_csr", "c_rows4"}
    assert own_forms(scattered.double(), None) == {} and own_forms(torch.zeros(1, 70_000), None) == {}
    model = nn.Sequential(nn.Linear(64, 64))
    with torch.no_grad():
        model[0].weight.copy_(scattered)
    assert set(forms(model)) == {"dense", "csr", "bsr", "c_csr"}


def test_without_a_compiler_there_is_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    monkeypatch.setenv("JOULEMARK_KERNELS", "off")
    assert own_forms(sparse(8, 8, 0.1), None) == {}
    run = run_with(SparseKernel(kernel="c_csr"))
    assert forms(run.method.adapt(pruned(), run)) == {}
    library.cache_clear()


def test_a_compiler_that_fails_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library.cache_clear()
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library("spmm") is None
    library.cache_clear()


@needs_compiler
def test_a_kernel_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = "cc"
    first = kernels._compiled("spmm", compiler)
    made = first.stat().st_mtime_ns
    assert kernels._compiled("spmm", compiler) == first and first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_sources_are_pinned() -> None:
    """A changed kernel must change the hashes of the cells that name it: write its new digest into KNOWN."""
    found = {path.stem for path in kernels.SOURCES.glob("*.c")}
    assert found == set(KNOWN)
    for name, known in KNOWN.items():
        assert hashlib.sha256(source(name)).hexdigest()[:16] == known, f"KNOWN[{name!r}] is of another source"


# -------------------------------------------------------------------- one kernel as an arm


def pruned(block: int = 0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32, bias=False))
    with torch.no_grad():
        weight = model[0].weight
        weight *= block_mask(weight, 0.75, block) if block else (torch.rand_like(weight) < 0.1)
    return model


@pytest.mark.parametrize("kernel", ["csr", "bsr", pytest.param("c_csr", marks=needs_compiler),
                                    pytest.param("c_rows4", marks=needs_compiler)])  # fmt: skip
def test_one_kernel_answers(kernel: str) -> None:
    model, x = pruned(block=16), torch.randn(5, 64)
    wanted, size = model(x), size_costs(model)
    run = run_with(SparseKernel(kernel=kernel, sparsity=0.75, block=16))
    served = run.method.adapt(model, run)
    found = forms(served)
    assert set(found) == {kernel} and torch.allclose(found[kernel](x), wanted, atol=1e-5)
    assert torch.allclose(served(x), wanted, atol=1e-5) and size_costs(served) == size
    assert count(served, x).flops == 2 * 5 * int((served[0].weight != 0).sum())


@pytest.mark.parametrize(("sparsity", "block"), [(0.0, 1), (0.9, 1), (0.5, 16)])
def test_the_sparsity_of_a_kernels_matrix_is_exact(sparsity: float, block: int) -> None:
    run = run_with(SparseKernel(sparsity=sparsity, block=block))
    model = run.method.adapt(nn.Sequential(nn.Linear(64, 32)), run)
    assert int((model[0].weight == 0).sum()) == round(sparsity * 2048)


def test_rows_make_a_narrower_layer() -> None:
    model, x = pruned(), torch.randn(5, 64)
    run = run_with(SparseKernel(kernel="rows", sparsity=0.75))
    narrow = run.method.adapt(copy.deepcopy(model), run)
    assert torch.allclose(narrow(x), model(x)[:, :8], atol=1e-6) and set(forms(narrow)) >= {"dense"}


def test_blocks_of_a_matrix() -> None:
    assert block_of(pruned(block=16)[0].weight) == 16
    assert block_of(pruned()[0].weight) == 4  # no block fits scattered weights: the smallest
    assert block_of(torch.ones(3, 5)) is None


def test_the_layer_can_be_made_again() -> None:
    layer = StoredSparse.of(nn.Linear(6, 4), "csr")
    again = StoredSparse(**layer.args())
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.weight, layer.weight) and again.args() == layer.args()
