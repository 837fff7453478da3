"""The data sets, as numpy arrays and strings.

What each is, its licence and its sha256 stand in `benchmarks/data/manifest.yaml`; in short: docs/data.md.
Nothing here touches the network except `fashion_mnist(full=True)`, and that once (see `locate`).
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.data.archives import DataError, read_members
from benchmarks.data.fetch import locate, manifest

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Address",
    "DataError",
    "about",
    "austen",
    "cifar10",
    "fashion_mnist",
    "locate",
    "mnist1d",
    "photos",
    "state_of_the_union",
    "state_of_the_union_addresses",
]

#: Bytes of an image of CIFAR-10 with its label, and of all of them.
CIFAR_RECORD = 1 + 3 * 32 * 32
CIFAR_BYTES = 60_000 * CIFAR_RECORD

IDX_TYPES = {0x08: "u1", 0x0D: ">f4"}


@dataclass(frozen=True)
class Address:
    """One State of the Union address: `texts[split][start:stop]` is its text.

    Attributes:
        year: when it was given (some years have two).
        president: as in the source's file name, for example george_washington.
        party: none, Federalist, Democratic-Republican, Whig, Democratic, Republican ... as the source has it.
        split: train, valid or test.
        start, stop: character positions in the text of the split.
    """

    year: int
    president: str
    party: str
    split: str
    start: int
    stop: int


def fashion_mnist(full: bool = False) -> dict[str, np.ndarray]:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): articles of clothing in ten classes. Real data.

    Args:
        full: all 60,000 training images, found or fetched by `locate`, in place of the first 20,000.

    Returns:
        train_x uint8 [N, 28, 28] (grey, 0 is background), train_y uint8 [N] in 0-9,
        test_x uint8 [10000, 28, 28], test_y uint8 [10000]. The official test images in both cases; the first
        20,000 training images are also the same, and nearly balanced (1,935 to 2,068 a class).
    """
    train = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    if not full:
        train = ("fashion-mnist-train-20k-images.idx.xz", "fashion-mnist-train-20k-labels.idx.xz")
    return {
        "train_x": _array(train[0]),
        "train_y": _array(train[1]),
        "test_x": _array("fashion-mnist-test-images.idx.xz"),
        "test_y": _array("fashion-mnist-test-labels.idx.xz"),
    }


def cifar10() -> dict[str, np.ndarray]:
    """CIFAR-10 (Krizhevsky, 2009): animals and vehicles in ten classes. Real data, which the user brings.

    Returns:
        train_x uint8 [50000, 3, 32, 32] (red, green and blue planes), train_y uint8 [50000] in 0-9,
        test_x uint8 [10000, 3, 32, 32], test_y uint8 [10000], in the order of the authors' files.

    Raises:
        DataError: `cifar-10-binary.tar.gz` is in none of the folders that `locate` looks into.
    """
    import numpy as np

    names = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    wanted = {name for part in names.values() for name in part}
    path = locate("cifar-10-binary.tar.gz")
    found = read_members(path, lambda name: name.rpartition("/")[2] in wanted, CIFAR_BYTES)
    content = {name.rpartition("/")[2]: part for name, part in found.items()}
    if set(content) != wanted or any(len(part) % CIFAR_RECORD for part in content.values()):
        raise DataError(f"{path}: not the six files of whole records that CIFAR-10 consists of")
    data = {}
    for split, files in names.items():
        rows = np.frombuffer(b"".join(content[name] for name in files), np.uint8).reshape(-1, CIFAR_RECORD)
        data[f"{split}_x"] = rows[:, 1:].reshape(-1, 3, 32, 32).copy()
        data[f"{split}_y"] = rows[:, 0].copy()
    return data


def state_of_the_union() -> dict[str, str]:
    """The State of the Union addresses 1790-2021, split by time. Real data, public domain.

    Returns:
        train (before 1980), valid (1980-1999) and test (2000 and later), each in the order of years; two line
        feeds between addresses. The training text has 88 different characters; 4 characters of valid and 388
        of test (0.05 %, mostly curly quotes) are none of these: a character vocabulary needs an "unknown".
    """
    return {split: _text(f"state-of-the-union-{split}.txt.xz") for split in ("train", "valid", "test")}


def state_of_the_union_addresses() -> list[Address]:
    """Where each address begins and ends in `state_of_the_union()`, with year, president and party."""
    rows = csv.reader(io.StringIO(_text("state-of-the-union-addresses.csv")))
    next(rows)  # the names of the columns: those of Address, in its order
    return [
        Address(int(year), president, party, split, int(start), int(stop))
        for year, president, party, split, start, stop in rows
    ]


def austen() -> dict[str, str]:
    """Jane Austen's six novels. Real data, public domain.

    Returns:
        train: Sense and Sensibility, Pride and Prejudice, Mansfield Park, Emma and Northanger Abbey, two line
        feeds between them; test: Persuasion. Every character of test also occurs in train.
    """
    return {split: _text(f"austen-{split}.txt.xz") for split in ("train", "test")}


def mnist1d() -> dict[str, np.ndarray]:
    """MNIST-1D (Greydanus and Kobak, 2020): ten 1-D digit shapes, shifted, scaled and noisy. Synthetic data.

    Returns:
        train_x float32 [4000, 40], train_y uint8 [4000] in 0-9: the published training set (seed 42);
        test_x float32 [10000, 40], test_y uint8 [10000]: signals of the same generator with seed 43, 1,000 a
        class, centred and scaled with the published set's mean and standard deviation. The published test set
        has only 1,000 signals: a binomial standard deviation of 1.5 points at 64 %.
    """
    parts = {"x": "signals", "y": "labels"}
    return {
        f"{split}_{key}": _array(f"mnist1d-{split}-{part}.idx.xz")
        for split in ("train", "test")
        for key, part in parts.items()
    }


def photos() -> np.ndarray:
    """Two photographs, a temple's roof and a flower: what tasks mix into images. Real data.

    china.jpg by danielbuechele and flower.jpg by vultilion, CC BY 2.0: who shows an image made with them names both.

    Returns:
        uint8 [2, 427, 640, 3]: photo, row, column, and red, green, blue.
    """
    return _array("photos.idx.xz")


def about(dataset: str) -> dict[str, Any]:
    """Facts about a data set: what, kind (real, derived or synthetic), licence, source, rule, files."""
    known = manifest()["datasets"]
    if dataset not in known:
        raise DataError(f"no data set {dataset!r}; there are: {', '.join(sorted(known))}")
    return known[dataset]


def _content(name: str) -> bytes:
    """The checked content of a data file, decompressed by its suffix."""
    path = locate(name)
    raw = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(raw)
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def _text(name: str) -> str:
    return _content(name).decode("utf-8")


def _array(name: str) -> np.ndarray:
    return parse_idx(_content(name), name)


def parse_idx(content: bytes, name: str = "idx") -> np.ndarray:
    """Parse an IDX array: two zero bytes, type, rank, the sizes as big-endian int32, then the values.

    Args:
        content: the whole file; types uint8 (0x08) and float32 (0x0D) are known.
        name: for the error message.

    Returns:
        A writable array in the machine's byte order.
    """
    import numpy as np

    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise DataError(f"{name}: not an IDX array of uint8 or float32")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{name}: cut off in the IDX header")
    shape = tuple(np.frombuffer(content, ">i4", content[3], 4).tolist())
    dtype = np.dtype(IDX_TYPES[content[2]])
    needed = dtype.itemsize * math.prod(shape)
    if min(shape, default=1) < 0 or len(content) != start + needed:
        raise DataError(f"{name}: the IDX header says {shape}, the file has {len(content) - start} bytes")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
