"""Our own C kernels: compiled once a machine, called through ctypes, absent where there is no compiler."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

SOURCES = Path(__file__).resolve().parents[1] / "kernels"
#: First sixteen hex digits of each source's SHA-256: the sources belong to what hashes of cells cover.
KNOWN = {"spmm": "8d634281e64ee06f"}
#: Not -ffast-math: linking with it makes the whole process flush denormal numbers to zero.
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC", "-std=c11")
#: Columns of a matrix are stored in 16 bits.
MOST_COLUMNS = 65536
#: Items of the widest panel, and bytes to which it is aligned.
PANEL, ALIGNMENT = 64, 64


def source(name: str) -> bytes:
    """The C source of a kernel."""
    return (SOURCES / f"{name}.c").read_bytes()


@cache
def library(name: str) -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be compiled here (JOULEMARK_KERNELS=off: nowhere)."""
    compiler = os.environ.get("CC") or next((cc for cc in ("cc", "gcc", "clang") if shutil.which(cc)), None)
    if compiler is None or os.environ.get("JOULEMARK_KERNELS") == "off":
        return None
    try:
        return ctypes.CDLL(str(_compiled(name, compiler)))
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(name: str, compiler: str) -> Path:
    """The shared object, from the cache of this user or fresh; written by rename, so that two jobs may meet."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    key = hashlib.sha256(
        b"\0".join([source(name), version, _processor(), *map(str.encode, FLAGS)])
    ).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulemark" / "kernels"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{name}-{key[:16]}.so"
    if not target.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / target.name
            command = [compiler, *FLAGS, str(SOURCES / f"{name}.c"), "-o", str(made)]
            subprocess.run(command, capture_output=True, check=True, timeout=120)
            made.replace(target)
    return target


def _processor() -> bytes:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    return b"\n".join(
        sorted({line for line in lines if line.startswith((b"model name", b"flags", b"Features"))})
    )


class SparseProduct(nn.Module):
    """y = W x + b by the C kernel; rows of W in groups of `group` (1 or 4) that share their columns."""

    def __init__(self, weight: Tensor, bias: Tensor | None, group: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        blocks = weight.detach().float().reshape(rows // group, group, columns)
        places = (blocks != 0).any(1)
        counts = places.sum(1)
        self.group, self.rows, self.columns = group, rows, columns
        self.begin = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)
        at = places.nonzero()
        self.column = at[:, 1].to(torch.uint16)
        self.value = blocks[at[:, 0], :, at[:, 1]].contiguous()
        self.bias = None if bias is None else bias.detach().float().contiguous()
        self.room = torch.empty(columns * PANEL + ALIGNMENT // 4)

    def forward(self, x: Tensor) -> Tensor:
        """[..., columns] -> [..., rows], float32."""
        found = library("spmm")
        assert found is not None
        items = x.reshape(-1, self.columns).contiguous()
        out = torch.empty(len(items), self.rows)
        room = -(-self.room.data_ptr() // ALIGNMENT) * ALIGNMENT
        function = found.spmm1 if self.group == 1 else found.spmm4
        sizes = map(ctypes.c_long, (len(items), self.columns, self.rows))
        tensors = (self.begin, self.column, self.value, self.bias, items)
        pointers = [ctypes.c_void_p(None if one is None else one.data_ptr()) for one in tensors]
        function(*sizes, *pointers, ctypes.c_void_p(room), ctypes.c_void_p(out.data_ptr()))
        return out.view(*x.shape[:-1], self.rows)


def own_forms(weight: Tensor, bias: Tensor | None) -> dict[str, nn.Module]:
    """The C kernel's forms of a matrix on the CPU: `c_csr`, and `c_rows4` where rows share columns by fours.

    Empty without a compiler and for matrices that the kernel does not take.
    """
    fits = weight.ndim == 2 and weight.shape[1] <= MOST_COLUMNS and weight.device.type == "cpu"
    if not fits or weight.dtype != torch.float32 or library("spmm") is None:
        return {}
    forms: dict[str, nn.Module] = {"c_csr": SparseProduct(weight, bias, 1)}
    if weight.shape[0] % 4 == 0:
        grouped = SparseProduct(weight, bias, 4)
        # half of the stored values may be zeros: a column's items are then still read half as often
        if grouped.value.numel() <= 2 * forms["c_csr"].value.numel():  # type: ignore[operator]
            forms["c_rows4"] = grouped
    return forms
