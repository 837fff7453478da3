"""Where a data file is looked for and how it is fetched: nothing unchecked gets through."""

from __future__ import annotations

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks import datasets
from benchmarks.data import fetch
from benchmarks.datasets import DataError

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"the content of a small data file"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """No test sees this machine's folders; the cache is a fresh one."""
    for name in ("JOULEMARK_DATA", "JOULEMARK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOULEMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def manifest(monkeypatch):
    """Put a small manifest in place of the real one: `manifest({file: facts}, {archive: facts})`."""

    def use(files, packages=None):
        facts = {"datasets": {"small": {"files": files}}, "archives": packages or {}}
        monkeypatch.setattr(fetch, "manifest", lambda: facts)

    return use


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Put a shell script in place of a package client; it leaves `asked` beside itself when it is called."""

    def use(name, script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return folder / "asked"

    return use


def left(folder):
    """All files under a folder, by their relative paths."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


class TestOrder:
    def test_sources_in_order(self, tmp_path, monkeypatch, manifest):
        system, url = tmp_path / "system" / "small.bin", tmp_path / "remote.bin"
        item = {"sha256": DIGEST, "max_bytes": 100, "system": [str(system)], "url": url.as_uri()}
        manifest({"small.bin": item})
        monkeypatch.setenv("JOULEMARK_DATA", str(tmp_path / "own"))
        monkeypatch.setattr(fetch, "HERE", tmp_path / "vendored")
        order = [tmp_path / folder / "small.bin" for folder in ("own", "vendored", "system", "cache")]
        for path in order:
            path.parent.mkdir()
            path.write_bytes(CONTENT)
        url.write_bytes(CONTENT)
        for path in order:
            assert datasets.locate("small.bin") == path
            path.unlink()
        assert datasets.locate("small.bin") == order[-1]  # fetched into the cache
        url.unlink()
        assert datasets.locate("small.bin") == order[-1]  # and once only

    def test_a_wrong_file_is_never_passed_over(self, tmp_path, monkeypatch, manifest):
        manifest({"small.bin": {"sha256": DIGEST, "bytes": len(CONTENT)}})
        for variable, name in (("JOULEMARK_DATA", "own"), ("JOULEMARK_CACHE", "cache")):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "small.bin").write_bytes(CONTENT[::-1])
            monkeypatch.setenv(variable, str(folder))
            with pytest.raises(DataError, match=rf"{name}/small.bin: sha256 is .* expected {DIGEST}"):
                datasets.locate("small.bin")
            (folder / "small.bin").write_bytes(CONTENT * 2)
            with pytest.raises(DataError, match="the limit is 32"):
                datasets.locate("small.bin")
            (folder / "small.bin").unlink()

    def test_another_version_of_a_system_package_is_passed_over(self, tmp_path, manifest):
        system, url = tmp_path / "small.bin", tmp_path / "remote.bin"
        system.write_bytes(b"newer")
        url.write_bytes(CONTENT)
        item = {"sha256": [64 * "0", DIGEST], "max_bytes": 100, "system": [str(system)], "url": url.as_uri()}
        manifest({"small.bin": item})
        assert datasets.locate("small.bin") == tmp_path / "cache" / "small.bin"

    def test_cache_is_under_the_project_by_default(self, monkeypatch):
        monkeypatch.delenv("JOULEMARK_CACHE")
        assert fetch.cache_folder() == ROOT / "data"

    def test_missing_file_says_what_was_tried_in_one_line(self, tmp_path, manifest, monkeypatch):
        url = (tmp_path / "nowhere.bin").as_uri()
        manifest(
            {"small.bin": {"sha256": DIGEST, "max_bytes": 100, "system": ["/nowhere/small.bin"], "url": url}}
        )
        with pytest.raises(DataError) as caught:
            datasets.locate("small.bin")
        message = str(caught.value)
        assert "\n" not in message and message.startswith("small.bin: not found")
        assert all(
            part in message for part in ("/nowhere/small.bin", url, str(tmp_path / "cache"), "JOULEMARK_DATA")
        )
        assert left(tmp_path / "cache") == []

    def test_unknown_names(self):
        with pytest.raises(DataError, match="'cifar.bin'.*austen-test.txt.xz"):
            datasets.locate("cifar.bin")
        with pytest.raises(DataError, match="'cifar'.*fashion_mnist_full"):
            datasets.about("cifar")


class TestDownload:
    def test_wrong_hash_leaves_no_file(self, tmp_path, manifest):
        url = tmp_path / "remote.bin"
        url.write_bytes(CONTENT[::-1])
        manifest({"small.bin": {"sha256": DIGEST, "max_bytes": 100, "url": url.as_uri()}})
        with pytest.raises(DataError, match=f"sha256 is .* expected {DIGEST}"):
            datasets.locate("small.bin")
        assert left(tmp_path / "cache") == []

    def test_stream_stops_at_the_limit(self, tmp_path, manifest):
        sent = []

        class Endless(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                self.send_response(200)  # no Content-Length: only the stream shows the size
                self.end_headers()
                for _ in range(64):
                    try:
                        self.wfile.write(bytes(1 << 20))
                    except OSError:
                        return
                    sent.append(1)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Endless)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/small.bin"
        manifest({"small.bin": {"sha256": DIGEST, "max_bytes": 1000, "url": url}})
        with pytest.raises(DataError, match="more than the limit of 1000 bytes"):
            datasets.locate("small.bin")
        thread.join()
        server.server_close()
        assert len(sent) < 64 and left(tmp_path / "cache") == []

    def test_a_client_brings_the_package(self, tmp_path, manifest, client):
        asked = client("npm", f"printf '%s' '{CONTENT.decode()}' > any-name-1.0.tgz; echo any-name-1.0.tgz")
        manifest(
            {}, {"small.tgz": {"client": "npm", "package": "small@1.0", "sha256": DIGEST, "max_bytes": 100}}
        )
        assert datasets.locate("small.tgz").read_bytes() == CONTENT
        assert asked.read_text() == "pack --ignore-scripts small@1.0\n"
        assert left(tmp_path / "cache") == ["small.tgz"]

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("printf wrong > small.whl", "sha256 is"),
            ("head -c 101 /dev/zero > small.whl", "101 bytes, the limit is 100"),
            ("trap '' XFSZ; head -c 20000000 /dev/zero > small.whl", "exit"),
            ("echo no such package >&2; exit 1", "exit 1: no such package"),
            ("true", "no file came"),
        ],
    )
    def test_a_client_is_not_trusted(self, tmp_path, manifest, client, script, reason):
        client("pip", script)
        manifest(
            {}, {"small.whl": {"client": "pip", "package": "small==1", "sha256": DIGEST, "max_bytes": 100}}
        )
        with pytest.raises(DataError, match=reason):
            datasets.locate("small.whl")
        assert left(tmp_path / "cache") == []

    def test_no_client_here(self, tmp_path, manifest, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        manifest({}, {"small.deb": {"client": "apt", "package": "small", "sha256": DIGEST, "max_bytes": 100}})
        with pytest.raises(DataError, match="no apt-get here"):
            datasets.locate("small.deb")

    def test_offline_asks_nobody(self, tmp_path, manifest, client, monkeypatch):
        url = tmp_path / "remote.bin"
        url.write_bytes(CONTENT)
        asked = client("apt-get", "true")
        item = {"client": "apt", "package": "small", "sha256": DIGEST, "max_bytes": 100, "url": url.as_uri()}
        manifest({}, {"small.deb": item})
        monkeypatch.setenv("JOULEMARK_OFFLINE", "1")
        with pytest.raises(DataError, match="JOULEMARK_OFFLINE is set"):
            datasets.locate("small.deb")
        assert not asked.exists()

    def test_cache_that_cannot_be_made(self, tmp_path, manifest, monkeypatch):
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("JOULEMARK_CACHE", str(tmp_path / "file" / "cache"))
        manifest({"small.bin": {"sha256": DIGEST, "max_bytes": 100, "url": (tmp_path / "file").as_uri()}})
        with pytest.raises(DataError, match="cannot be written .* set JOULEMARK_CACHE"):
            datasets.locate("small.bin")
