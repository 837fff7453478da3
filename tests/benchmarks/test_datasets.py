"""The vendored data: hashes, shapes, counts, splits, and that labels belong to what they label."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import datasets
from benchmarks.data import fetch, rebuild
from benchmarks.datasets import DataError
from benchmarks.tasks.cifar_mlp import CifarMlp

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ("fashion_mnist", "state_of_the_union", "austen", "mnist1d", "photos")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """No test sees this machine's folders; the cache is a fresh one."""
    for name in ("JOULEMARK_DATA", "JOULEMARK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOULEMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


class TestVendored:
    def test_manifest_names_every_file_and_nothing_else(self):
        known = {name for key in VENDORED for name in datasets.about(key)["files"]}
        present = {path.name for path in fetch.HERE.iterdir() if path.suffix in (".xz", ".csv")}
        assert present == known
        assert sum((fetch.HERE / name).stat().st_size for name in known) < 18_000_000

    @pytest.mark.parametrize("dataset", VENDORED)
    def test_hashes(self, dataset):
        for name, facts in datasets.about(dataset)["files"].items():
            stored = (fetch.HERE / name).read_bytes()
            assert (len(stored), hashlib.sha256(stored).hexdigest()) == (facts["bytes"], facts["sha256"]), (
                name
            )
            if name.endswith(".xz"):
                content = lzma.decompress(stored)
                assert len(content) == facts["content_bytes"]
                assert hashlib.sha256(content).hexdigest() == facts["content_sha256"]

    def test_manifest_is_complete(self):
        for dataset in fetch.manifest()["datasets"].values():
            assert dataset["kind"] in ("real", "derived", "synthetic")
            assert all(dataset[key] for key in ("what", "licence", "source", "rule", "files"))
        packages = fetch.manifest()["archives"]
        assert all(facts["client"] in fetch.CLIENTS and facts["package"] for facts in packages.values())
        files = {name for dataset in fetch.manifest()["datasets"].values() for name in dataset["files"]}
        for name in files | set(packages):
            item = fetch.entry(name)
            assert Path(name).name == name and item.max_bytes > 0
            assert item.sha256 and all(len(digest) == 64 for digest in item.sha256)
            assert not item.url or item.url.startswith("https://")
            assert not item.archive or (item.archive in packages and item.member)

    def test_fashion_mnist(self):
        data = datasets.fashion_mnist()
        assert {key: value.shape for key, value in data.items()} == {
            "train_x": (20000, 28, 28),
            "train_y": (20000,),
            "test_x": (10000, 28, 28),
            "test_y": (10000,),
        }
        assert all(value.dtype == np.uint8 and value.flags.writeable for value in data.values())
        counts = [1935, 2025, 1982, 2011, 1967, 2010, 2068, 2003, 1971, 2028]
        assert np.bincount(data["train_y"]).tolist() == counts
        assert np.bincount(data["test_y"]).tolist() == [1000] * 10
        rows = [{image.tobytes() for image in data[key]} for key in ("train_x", "test_x")]
        assert [len(unique) for unique in rows] == [20000, 10000] and not rows[0] & rows[1]

    def test_fashion_labels_belong_to_images(self):
        data = datasets.fashion_mnist()
        train, test = (data[key].reshape(-1, 784) for key in ("train_x", "test_x"))
        means = np.stack([train[data["train_y"] == label].mean(0) for label in range(10)])
        nearest = ((means**2).sum(1) - 2 * (test @ means.T)).argmin(1)
        # the nearest class mean is right for 68 % of the test images
        assert 0.66 < (nearest == data["test_y"]).mean() < 0.70

    def test_state_of_the_union(self):
        texts = datasets.state_of_the_union()
        assert {split: len(text) for split, text in texts.items()} == {
            "train": 9_168_570,
            "valid": 819_170,
            "test": 772_762,
        }
        whole = "\n\n".join(texts[split] for split in ("train", "valid", "test"))
        assert hashlib.sha256(whole.encode()).hexdigest().startswith("e000091017bee724")
        lines = {
            split: {line for line in text.split("\n") if len(line) > 60} for split, text in texts.items()
        }
        assert not lines["train"] & lines["valid"] and not (lines["train"] | lines["valid"]) & lines["test"]

    def test_addresses_cover_the_texts(self):
        texts = datasets.state_of_the_union()
        addresses = datasets.state_of_the_union_addresses()
        assert len(addresses) == 233 and [a.year for a in addresses] == sorted(a.year for a in addresses)
        years = {"train": range(1790, 1980), "valid": range(1980, 2000), "test": range(2000, 2022)}
        for split, text in texts.items():
            mine = [a for a in addresses if a.split == split]
            assert all(a.year in years[split] for a in mine)
            assert "\n\n".join(text[a.start : a.stop] for a in mine) == text
        last = addresses[-1]
        assert (last.year, last.president, last.party) == (2021, "joseph_r_biden", "Democratic")
        assert "pandemic" in texts["test"][last.start : last.stop]

    def test_austen(self):
        texts = datasets.austen()
        assert {split: len(text) for split, text in texts.items()} == {"train": 3_558_177, "test": 466_853}
        assert texts["test"].startswith("Persuasion") and "Wentworth" not in texts["train"]
        names = ("Dashwood", "Bennet", "Fanny Price", "Woodhouse", "Tilney")
        places = [texts["train"].index(name) for name in names]
        assert places == sorted(places) and not any(name in texts["test"] for name in names)
        assert set(texts["test"]) <= set(texts["train"])

    def test_mnist1d(self):
        data = datasets.mnist1d()
        assert data["train_x"].shape == (4000, 40) and data["test_x"].shape == (10000, 40)
        assert all(
            data[key].dtype == np.dtype("f4") and data[key].dtype.isnative for key in ("train_x", "test_x")
        )
        counts = [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]
        assert np.bincount(data["train_y"]).tolist() == counts
        assert np.bincount(data["test_y"]).tolist() == [1000] * 10
        rows = {row.tobytes() for row in data["train_x"]}
        assert len(rows) == 4000 and not rows & {row.tobytes() for row in data["test_x"]}
        # the published training set: mean and deviation as the package gives them, in float64
        train, test = data["train_x"].astype(np.float64), data["test_x"].astype(np.float64)
        assert train.mean() == pytest.approx(-0.00032367, abs=1e-7)
        assert train.std() == pytest.approx(0.99764797, abs=1e-7)
        assert abs(test.mean()) < 0.02 and abs(test.std() - 1) < 0.02

    def test_mnist1d_labels_belong_to_signals(self):
        data = datasets.mnist1d()
        design = [
            np.c_[data[key].astype(np.float64), np.ones(len(data[key]))] for key in ("train_x", "test_x")
        ]
        weights = np.linalg.lstsq(design[0], np.eye(10)[data["train_y"]], rcond=None)[0]
        accuracy = [
            ((x @ weights).argmax(1) == data[key]).mean()
            for x, key in zip(design, ("train_y", "test_y"), strict=True)
        ]
        # least squares reaches 24 %, and a shuffled label file 10 % (standard deviation 0.3 points)
        assert 0.22 < accuracy[1] <= accuracy[0] < 0.40

    def test_photos(self):
        photos = datasets.photos()
        assert photos.shape == (2, 427, 640, 3) and photos.dtype == np.uint8
        china, flower = photos  # a pale sky above a roof; petals before leaves
        assert china[0, 0].tolist() == [174, 201, 231] and flower[200, 320].tolist() == [218, 114, 51]
        assert [photo.mean().round(1) for photo in photos] == [143.7, 61.9]

    def test_import_loads_neither_torch_nor_numpy(self):
        code = "import sys, benchmarks.datasets; print(sorted({'torch', 'numpy', 'yaml'} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


class TestIdx:
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_round_trip(self, dtype):
        values = np.arange(24).reshape(2, 3, 4).astype(dtype)
        again = datasets.parse_idx(rebuild.idx(values))
        assert again.dtype == values.dtype and np.array_equal(again, values)

    def test_by_hand(self):
        content = bytes([0, 0, 0x0D, 1, 0, 0, 0, 2]) + struct.pack(">2f", 1.5, -2.0)
        assert datasets.parse_idx(content).tolist() == [1.5, -2.0]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0\0\x0b\1" + bytes(4),
            b"\0\0\x08\2\0\0\0\1",
            b"\0\0\x08\1\0\0\0\3ab",
            b"\0\0\x08\1\xff\xff\xff\xff",
        ],
    )
    def test_damaged(self, content):
        with pytest.raises(DataError):
            datasets.parse_idx(content)


class TestRebuild:
    """The whole rebuild needs the archives and is run by hand (docs/data.md); its steps are tested here."""

    def test_idx_prefix(self):
        values = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
        assert np.array_equal(datasets.parse_idx(rebuild.idx_prefix(rebuild.idx(values), 3)), values[:3])

    def test_packing_gives_the_same_bytes(self):
        name = "mnist1d-train-labels.idx"
        content = lzma.decompress((fetch.HERE / f"{name}.xz").read_bytes())
        packed = rebuild.pack(name, content)
        assert packed == rebuild.pack(name, content) and lzma.decompress(packed[1]) == content
        assert rebuild._verdict(packed[0], content, packed[1]).startswith("same")
        changed = bytes([*content[:-1], content[-1] ^ 1])
        assert rebuild._verdict(packed[0], changed, rebuild.pack(name, changed)[1]) == "DIFFERS"

    def test_packing_photos(self):
        content = rebuild.idx(np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3))
        assert lzma.decompress(rebuild.pack("photos.idx", content)[1]) == content

    def test_archives_are_checked(self, tmp_path):
        with pytest.raises(DataError, match="absent; get the package dataset-fashion-mnist=.* with apt-get"):
            rebuild.main([str(tmp_path), "--out", str(tmp_path / "out")])
        name = next(iter(fetch.manifest()["archives"]))
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(DataError, match="sha256 differs"):
            rebuild.main([str(tmp_path), "--out", str(tmp_path / "out")])
        assert list((tmp_path / "out").iterdir()) == []


class TestCifar:
    """On an archive of the authors' form, since the images themselves are the user's."""

    def archive(self, folder, records=10_000, names=None):
        random, path = np.random.default_rng(5), folder / "cifar-10-binary.tar.gz"
        names = names or [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        parts = {name: random.integers(0, 10, (records, 3073), np.uint8) for name in names}
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for name, rows in [("batches.meta.txt", np.zeros(3, np.uint8)), *parts.items()]:
                info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                info.size = rows.nbytes
                tar.addfile(info, io.BytesIO(rows.tobytes()))
        return path, parts

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        """A folder of the user's, whose archive is taken for the real one."""
        monkeypatch.setattr(datasets, "locate", lambda name: tmp_path / name)
        return tmp_path

    def test_images_and_labels_in_the_order_of_the_files(self, own):
        _, parts = self.archive(own)
        data = datasets.cifar10()
        assert data["train_x"].shape == (50_000, 3, 32, 32) and data["test_x"].shape == (10_000, 3, 32, 32)
        second = parts["data_batch_2.bin"][7]
        assert data["train_y"][10_007] == second[0]
        assert np.array_equal(data["train_x"][10_007].ravel(), second[1:])
        assert np.array_equal(data["test_y"], parts["test_batch.bin"][:, 0])
        splits = CifarMlp(images=100).prepare()
        assert {name: part["x"].shape for name, part in splits.items()} == {
            "train": (100, 3072),
            "valid": (5_000, 3072),
            "test": (10_000, 3072),
        }
        assert np.array_equal(splits["valid"]["y"], data["train_y"][45_000:])

    def test_a_file_that_is_missing_is_said(self, own):
        self.archive(own, records=3, names=["data_batch_1.bin"])
        with pytest.raises(DataError, match="six files of whole records"):
            datasets.cifar10()

    def test_nothing_fetches_it(self, tmp_path):
        with pytest.raises(DataError, match="set JOULEMARK_DATA to a folder"):
            datasets.cifar10()
        spec = json.dumps({"task": "cifar_mlp", "knobs": {}})
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks", "data", "--out", str(tmp_path / "cifar.safetensors")],
            input=spec,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert told.returncode == 1 and told.stderr.count("\n") == 1 and not list(tmp_path.glob("cifar*"))
        assert told.stderr.startswith("cifar-10-binary.tar.gz: not found")
        item = fetch.entry("cifar-10-binary.tar.gz")
        assert not (item.url or item.client or item.archive or item.system)
