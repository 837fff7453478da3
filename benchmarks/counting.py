"""Counted cost: FLOPs, bytes moved and live bytes of any code that torch runs, backward and optimiser too.

    with Counter() as counter:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    counter.count().flops

The counter is a dispatch mode: it sees every operator with its tensors, changes no result, and reads the
formulas registered in `benchmarks/operators.py`. Under `torch.inference_mode` torch hands over composite
operators whole; they are opened here with torch's own code, so that a call has the same FLOPs with gradients,
without, and in inference mode (bytes differ where torch itself takes another path, as in a GRU).

What it cannot see: kernels behind ctypes and work in numpy (let them call `report`), temporaries inside one
operator, memory that numpy or a data loader holds, and compiled code: while a mode is on, torch runs what
`torch.compile` was given uncompiled, and FlexAttention, which insists on compiling, raises. A few composites
ask whether a mode is on and then do more: `torch.linalg.svdvals`, `eigvals` and `eigvalsh` form the vectors,
too, and are counted so (their values may then differ in the last bits).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import benchmarks.factorizations
import benchmarks.formulas  # noqa: F401  (both register their formulas)
from benchmarks.operators import Entry, bind, entry, is_free, name_of, opening
from benchmarks.traffic import LiveBytes, moved_bytes, tensors_in

#: Picojoules in 45 nm CMOS at 0.9 V, all from the table of rough energy costs in M. Horowitz, "Computing's
#: Energy Problem (and what we can do about it)", ISSCC 2014: multiplications by the width of the numbers,
#: 32-bit sums (in which kernels accumulate), a DRAM access of 64 bits at the low end of its 1.3 to 2.6 nJ.
MULTIPLY_PJ = {"int8": 0.2, "int32": 3.1, "float16": 1.1, "float32": 3.7}
ADD_PJ = {"int": 0.1, "float": 0.9}
DRAM_PJ_PER_BYTE = 1300 / 8
#: What stands for numbers that the table lacks: too low for wider numbers, too high for narrower ones.
_NEAREST = {"bfloat16": "float16", "float64": "float32", "uint8": "int8", "int16": "int32", "int64": "int32"}


@dataclass(frozen=True)
class Count:
    """What was counted.

    Attributes:
        flops: 2 x multiply-adds of contractions (matmul, convolution, attention, FFT, recurrent layers,
            solvers), the field's convention: elementwise work is not in it. None when one has no formula.
        bytes_moved: sum over operators that are no views of distinct input bytes and output bytes. Nothing is
            taken to be fused or cached, so it is an upper bound.
        peak_live_bytes: most bytes at any moment of the storages that operators created while the counter was
            on. What existed before (parameters, inputs) is not in it, nor are temporaries inside an operator.
        unknown: operators without a formula.
        flops_by_number: FLOPs by the arithmetic they are done in: (("float32", 12), ("int8", 4)).
    """

    flops: int | None
    bytes_moved: int
    peak_live_bytes: int
    unknown: tuple[str, ...] = ()
    flops_by_number: tuple[tuple[str, int], ...] = ()


class Counter(TorchDispatchMode):
    """Counts what runs while it is entered; entering it again goes on adding.

    It may be entered before a generator's `yield` and left after it. Entering it twice at once counts once.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._flops: defaultdict[str, float] = defaultdict(float)
        self._bytes = 0
        self._live = LiveBytes()
        self._unknown: set[str] = set()
        self._depth = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's wrapper would import torch._dynamo at the first operator: one CPU second

    def count(self) -> Count:
        """The sums so far."""
        by_number = tuple(sorted((number, round(flops)) for number, flops in self._flops.items() if flops))
        known = not self._unknown
        return Count(
            flops=sum(flops for _, flops in by_number) if known else None,
            bytes_moved=self._bytes,
            peak_live_bytes=self._live.peak,
            unknown=tuple(sorted(self._unknown)),
            flops_by_number=by_number if known else (),
        )

    def __enter__(self) -> Counter:
        if not self._depth:
            super().__enter__()
            _ON.append(self)
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            _ON.remove(self)
            super().__exit__(kind, error, trace)

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operator and add it up; a tensor subclass first takes itself apart, its parts come back."""
        kwargs = kwargs or {}
        if any(kind not in (Tensor, Parameter) for kind in types):
            return NotImplemented
        if isinstance(func, HigherOrderOperator):
            self._unknown.add(str(func))
            return func(*args, **kwargs)
        opened = opening(func)
        if opened is not None and not _any_nested(args):
            with self._on():
                return opened(*args, **kwargs)
        out = func(*args, **kwargs)
        # what the bookkeeping does with tensors is not for another counter around this one
        with _disable_current_modes() if len(_ON) > 1 else nullcontext():
            self._add(func, args, kwargs, out)
        return out

    @contextmanager
    def _on(self) -> Iterator[None]:
        """The mode is off while it handles an operator; this turns it on for that operator's parts."""
        super().__enter__()
        try:
            yield
        finally:
            super().__exit__(None, None, None)

    def _add(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        inputs = list(tensors_in([*args, *kwargs.values()]))
        fresh = name_of(func) == "aten::lift_fresh"  # torch.tensor(...) makes its storage out of sight
        self._live.see([] if fresh else inputs, tensors_in(out))
        self._bytes += moved_bytes(func, args, kwargs, out)
        known = entry(func)
        flops = None if known is None or _any_nested(args) else known.flops(*bind(func, args, kwargs), out)
        if flops is not None and known is not None:
            number, times = _arithmetic(known, inputs)
            self._flops[number] += flops * times
        elif known is not None or not is_free(func):
            self._unknown.add(name_of(func))


_ON: list[Counter] = []


def _any_nested(args: tuple[Any, ...]) -> bool:
    """Strided nested tensors have no sizes to count by, and kernels of their own for some composites."""
    return any(tensor.is_nested for tensor in tensors_in(args))


def _arithmetic(known: Entry, inputs: list[Tensor]) -> tuple[str, int]:
    """The kind of number an operator computes with, and real multiply-adds in each of its own."""
    dtypes = [tensor.dtype for tensor in inputs]
    first = next((dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex), dtypes[0])
    times = known.complex_factor if first.is_complex else 1
    return known.number or str(first.to_real()).removeprefix("torch."), times


def count(call: Callable[..., Any], *args: Any) -> Count:
    """The counted cost of one call."""
    with Counter() as counter:
        call(*args)
    return counter.count()


def report(name: str, flops: int | None, bytes_moved: int, number: str = "float32") -> None:
    """Tell every counter that is on about work that torch cannot see, such as a C kernel behind ctypes.

    Args:
        name: of the kernel; it ends in `Count.unknown` where `flops` is None.
        flops: 2 x multiply-adds.
        bytes_moved: bytes read and written.
        number: the arithmetic ("float32", "int8", ...).
    """
    for counter in _ON:
        counter._bytes += bytes_moved
        if flops is None:
            counter._unknown.add(name)
        else:
            counter._flops[number] += flops


def flops_proxy_pj(cost: Count) -> float | None:
    """A proxy of energy in picojoules from counts and one table of 2014: no measurement and no prediction.

    Each FLOP costs half a multiply-add of its width, each byte moved a DRAM access: an order of magnitude for
    comparing two counts with each other, on a machine without caches. None where the FLOPs are unknown.
    """
    if cost.flops is None:
        return None
    parts = cost.flops_by_number or (("float32", cost.flops),)
    return sum(flops * _pj_per_flop(number) for number, flops in parts) + cost.bytes_moved * DRAM_PJ_PER_BYTE


def _pj_per_flop(number: str) -> float:
    nearest = _NEAREST.get(number, "float16" if number.startswith("float8") else number)
    if nearest not in MULTIPLY_PJ:
        raise ValueError(f"no energy per operation for {number!r}; the table has {', '.join(MULTIPLY_PJ)}")
    return (MULTIPLY_PJ[nearest] + ADD_PJ["int" if nearest.startswith("int") else "float"]) / 2
