"""Bytes that operators move and bytes that are alive, read from the tensors of one call after another.

Neither is measured: bytes moved assumes that every operator reads its inputs from memory and writes its
outputs back, so it is an upper bound of what a machine with caches, or with fused kernels, would move.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch._ops import OpOverload

from benchmarks.formulas import packed_tensors
from benchmarks.operators import bind, name_of

#: In-place operators that do not read what they overwrite.
_OVERWRITES = {"fill", "zero", "copy", "normal", "uniform", "random", "bernoulli", "exponential", "geometric"}
#: Operators that read of their first argument only as much as they return: no embedding is read as a whole.
_GATHERS = {"embedding", "index_select", "index", "_unsafe_index", "gather", "take", "masked_select"}
_BAGS = {"_embedding_bag", "_embedding_bag_forward_only"}
#: In-place operators that write of their first argument as much as this one holds; True: they read it, too.
_SCATTERS = {
    "index_copy": ("source", False),
    "index_add": ("source", True),
    "scatter": ("index", False),
    "scatter_add": ("index", True),
    "index_put": ("values", False),
    "_index_put_impl": ("values", False),
}
#: Operators that return no tensor and still read their arguments; the others only ask for sizes and flags.
_READERS = {"_local_scalar_dense", "equal"}


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in nested lists and tuples, those in packed parameters of torch.ao included."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, torch.ScriptObject) and value._type().name() != "_RecordFunction":
        yield from _unpacked(value)


def _unpacked(packed: torch.ScriptObject) -> list[Tensor]:
    try:
        return packed_tensors(packed)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return []  # an object of another library: its bytes cannot be seen


def strided_parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors in which a tensor is stored: itself, or the indices and values of a sparse one."""
    if tensor.layout is torch.strided and not tensor.is_nested:
        return [tensor]
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []  # opaque layouts (mkldnn, nested) show no storage


def _storages(tensors: Iterable[Tensor]) -> dict[int, UntypedStorage]:
    parts = (part for tensor in tensors for part in strided_parts(tensor))
    return {storage._cdata: storage for storage in (part.untyped_storage() for part in parts)}


def _region(tensor: Tensor) -> tuple[Any, int]:
    """What identifies a piece of memory, and its bytes; a broadcast dimension (stride 0) counts once."""
    storage = tensor.untyped_storage()
    numbers = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    key = (storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
    return key, min(numbers if tensor.numel() else 0, storage.nbytes() // tensor.itemsize) * tensor.itemsize


def distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the different pieces of memory behind the tensors."""
    tensors = list(tensors)
    regions = dict(_region(part) for tensor in tensors for part in strided_parts(tensor))
    opaque = {id(t): t.numel() * t.itemsize for t in tensors if not strided_parts(t) and not t.is_nested}
    return sum(regions.values()) + sum(opaque.values())


def moved_bytes(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Distinct bytes read plus distinct bytes written by one call.

    Views and empty allocations move nothing. Gathers read as much as they return, in-place scatters write as
    much as they are given; in-place operators read and write their argument, those that overwrite only write.
    """
    _, named = bind(operator, args, kwargs)
    results = list(tensors_in(out))
    written = [t for a in operator._schema.arguments if a.is_write for t in tensors_in(named[a.name])]
    if _moves_nothing(operator, named, results, written):
        return 0
    name = name_of(operator).partition("::")[2]
    base, in_place = name.removesuffix("_").removeprefix("_foreach_"), name.endswith("_")
    unread = {a.name for a in operator._schema.arguments if a.kwarg_only and a.is_write}  # out=
    first = next(iter(named), "")
    extra = 0
    if base in _GATHERS or base in _BAGS:
        unread.add(first)
        extra = _gathered(named, first, results, bag=base in _BAGS)
    elif in_place and (base in _OVERWRITES or base in _SCATTERS):
        unread.add(first)
    read = distinct_bytes(t for key, value in named.items() if key not in unread for t in tensors_in(value))
    if in_place and base in _SCATTERS:
        source, reads_too = _SCATTERS[base]
        return read + _scattered(named[first], named.get(source)) * (2 if reads_too else 1)
    return read + extra + distinct_bytes(written + results)


def _moves_nothing(
    operator: OpOverload, named: dict[str, Any], results: list[Tensor], written: list[Tensor]
) -> bool:
    """True for views (results in storages that came in), empty allocations and questions about sizes."""
    base = name_of(operator).partition("::")[2].removesuffix("_")
    if base.startswith(("empty", "new_empty")) or base == "set" or torch.Tag.inplace_view in operator.tags:
        return True
    if written:
        return False
    if not results:
        return base not in _READERS
    return _storages(results).keys() <= _storages(tensors_in(list(named.values()))).keys()


def _gathered(named: dict[str, Any], first: str, results: list[Tensor], bag: bool) -> int:
    """Bytes that a gather reads of its first argument: at most the whole of it."""
    source = named[first]
    numbers = named["indices"].numel() * source.shape[1] if bag else results[0].numel()
    return min(numbers * source.itemsize, distinct_bytes([source]))


def _scattered(target: Tensor, source: Any) -> int:
    """Bytes of the target that a scatter reaches; a single number may be spread over all of it."""
    whole = distinct_bytes([target])
    if not isinstance(source, Tensor) or source.numel() <= 1:
        return whole
    return min(source.numel() * target.itemsize, whole)


class LiveBytes:
    """Follows the storages that operators create until they are freed.

    Attributes:
        now: bytes alive.
        peak: the most there have been.
    """

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self._alive: dict[int, tuple[weakref.ref[UntypedStorage], int]] = {}

    def see(self, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
        """Take note of an operator's results; storages that came in with its inputs are not new."""
        known = _storages(inputs)
        for key, storage in _storages(outputs).items():
            size = storage.nbytes()
            if key in self._alive:
                self._resize(key, size)
            elif key not in known:
                self._alive[key] = (weakref.ref(storage, partial(self._free, key)), size)
                self.now += size
        self.peak = max(self.peak, self.now)

    def _resize(self, key: int, size: int) -> None:
        reference, before = self._alive[key]
        self._alive[key] = (reference, size)
        self.now += size - before

    def _free(self, key: int, reference: weakref.ref[UntypedStorage]) -> None:
        self.now -= self._alive.pop(key)[1]
