"""Reading archives in memory: a .deb, .tgz and .whl made in the test, hostile and damaged ones among them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import datasets
from benchmarks.data import archives, fetch, rebuild
from benchmarks.datasets import DataError


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """No test sees this machine's folders; the cache is a fresh one."""
    for name in ("JOULEMARK_DATA", "JOULEMARK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOULEMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


def left(folder):
    """All files under a folder, by their relative paths."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def write_deb(path, members, compression="gz"):
    """Write a Debian package by hand: an ar file of debian-binary, control.tar and data.tar."""

    def ar(name, content):
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        return head + content + b"\n" * (len(content) % 2)

    data = tar_bytes(members, compression)
    parts = (("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), (f"data.tar.{compression}/", data))
    path.write_bytes(b"!<arch>\n" + b"".join(ar(name, content) for name, content in parts))
    return path


def tar_bytes(members, compression="gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def gz_idx(values):
    return gzip.compress(rebuild.idx(values), mtime=0)


class TestFull:
    """`fashion_mnist(full=True)` on a small package of the same form."""

    def use(self, tmp_path, monkeypatch, damage=False):
        base = "usr/share/datasets/fashion-mnist/"
        images, labels = (
            gz_idx(np.arange(32, dtype=np.uint8).reshape(2, 4, 4)),
            gz_idx(np.array([3, 1], np.uint8)),
        )
        names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
        members = {f"./{base}{name}": data for name, data in zip(names, (images, labels), strict=True)}
        own = tmp_path / "own"
        own.mkdir()
        deb = write_deb(own / "small.deb", members, "xz")
        real = fetch.manifest()["datasets"]["fashion_mnist"]["files"]
        files = {
            name: {
                "sha256": 64 * "0" if damage else hashlib.sha256(data).hexdigest(),
                "max_bytes": 100,
                "archive": "small.deb",
                "member": base + name,
            }
            for name, data in zip(names, (images, labels), strict=True)
        }
        package = {"client": "apt", "package": "small", "max_bytes": 9999, "sha256": fetch.sha256_of(deb)}
        facts = {"datasets": {"small": {"files": real | files}}, "archives": {"small.deb": package}}
        monkeypatch.setattr(fetch, "manifest", lambda: facts)
        monkeypatch.setenv("JOULEMARK_DATA", str(own))
        monkeypatch.setenv("JOULEMARK_OFFLINE", "1")

    def test_from_a_deb_given_by_hand(self, tmp_path, monkeypatch):
        self.use(tmp_path, monkeypatch)
        data = datasets.fashion_mnist(full=True)
        assert data["train_x"].tolist() == np.arange(32).reshape(2, 4, 4).tolist()
        assert data["train_y"].tolist() == [3, 1] and data["test_x"].shape == (10000, 28, 28)
        assert left(tmp_path / "cache") == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]

    def test_member_with_another_hash(self, tmp_path, monkeypatch):
        self.use(tmp_path, monkeypatch, damage=True)
        with pytest.raises(DataError, match="member usr/share/.*sha256 is"):
            datasets.fashion_mnist(full=True)
        assert left(tmp_path / "cache") == []


class TestArchives:
    @pytest.mark.parametrize("compression", ["gz", "xz", "bz2"])
    def test_deb(self, tmp_path, compression):
        deb = write_deb(tmp_path / "a.deb", {"./usr/share/a": b"one", "./usr/share/b": b"two"}, compression)
        assert archives.read_member(deb, "usr/share/b", 3) == b"two"
        assert archives.read_members(deb, lambda name: True, 6) == {
            "usr/share/a": b"one",
            "usr/share/b": b"two",
        }

    def test_nothing_is_extracted_and_links_are_not_followed(self, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes(b"not yours")
        folder = tmp_path / "in"
        folder.mkdir()
        members = {"../evil": b"x", str(tmp_path / "absolute"): b"y", "link": str(secret), "inner": "../evil"}
        deb = write_deb(folder / "a.deb", members)
        before = left(tmp_path)
        found = archives.read_members(deb, lambda name: True, 100)
        assert found == {"../evil": b"x", str(tmp_path / "absolute"): b"y"}
        for name in ("link", "inner"):
            with pytest.raises(DataError, match=f"no regular file {name}"):
                archives.read_member(deb, name, 100)
        assert left(tmp_path) == before

    def test_limit_covers_all_members(self, tmp_path):
        tgz, whl = tmp_path / "a.tgz", tmp_path / "a.whl"
        tgz.write_bytes(tar_bytes({"a": bytes(60), "b": bytes(60)}))
        with zipfile.ZipFile(whl, "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr("a", bytes(60))
            package.writestr("b", bytes(60))
        for path in (tgz, whl):
            assert archives.read_member(path, "b", 60) == bytes(60)
            with pytest.raises(DataError, match="larger than the limit"):
                archives.read_member(path, "b", 59)
            with pytest.raises(DataError, match="larger than the limit"):
                archives.read_members(path, lambda name: True, 119)

    def test_damaged(self, tmp_path):
        good = write_deb(tmp_path / "good.deb", {"a": b"one"}).read_bytes()
        size = good.index(b"debian-binary") + 48
        payload = good.index(b"data.tar.gz/") + 60
        cases = [
            ("no ar header", b"PK" + good),
            ("damaged ar header", good[:8] + b"x" * 60),
            ("damaged ar header", good[:size] + b"-60       " + good[size + 10 :]),
            ("cut off inside data.tar.gz", good[:-20]),
            ("holds no data.tar", good[:72]),
            ("not a readable archive", good[:payload] + bytes(len(good) - payload)),
        ]
        for reason, content in cases:
            path = tmp_path / "bad.deb"
            path.write_bytes(content)
            with pytest.raises(DataError, match=reason):
                archives.read_member(path, "a", 100)
        for suffix in ("tgz", "whl"):
            path = tmp_path / f"bad.{suffix}"
            path.write_bytes(b"nothing of the kind")
            with pytest.raises(DataError, match="not a readable archive"):
                archives.read_member(path, "a", 100)
