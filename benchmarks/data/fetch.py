"""Find one data file by name, and fetch it once where that is allowed.

Order of sources, the first that has the file wins:

    1. $JOULEMARK_DATA          a folder given by the user
    2. benchmarks/data/         what is vendored
    3. /usr/share/datasets/...  an installed system package
    4. the cache                $JOULEMARK_CACHE, or data/ under the project root
    5. a download into the cache: the ordinary package client by package name, then the official https address
       ($JOULEMARK_OFFLINE forbids it)

Every file is held against a sha256 of the manifest before its path is handed out. A file of 1, 2 or 4 that is
there but wrong is an error, never passed over; a system package may be another version, so that one is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.data.archives import DataError, read_member

HERE = Path(__file__).resolve().parent
MANIFEST = HERE / "manifest.yaml"
CHUNK = 1 << 20
CLIENT_SECONDS = 600
CLIENT_BYTES = 1 << 24  # what a client may write in any case: its own logs and compiled files
ADDRESS_SECONDS = 30  # without a byte

#: Package clients: the command that leaves the package in the current folder. apt's own cache files would be
#: larger than the limit on what may be written, so apt is told to keep none.
CLIENTS: dict[str, tuple[str, ...]] = {
    "apt": ("apt-get", "-q", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "download"),
    "npm": ("npm", "pack", "--ignore-scripts"),
    "pip": ("pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"),
}


@dataclass(frozen=True)
class Entry:
    """One file of the manifest.

    Attributes:
        name: file name, the same in every folder where it is looked for.
        sha256: accepted digests of the stored bytes; more than one where the same content was packed twice.
        max_bytes: no more than this is ever read or downloaded.
        system: full paths at which system packages install it.
        archive: name of the archive that holds it, and `member` its path inside.
        client: package client that brings it, and `package` what to ask the client for.
        url: official https address.
    """

    name: str
    sha256: tuple[str, ...]
    max_bytes: int
    system: tuple[str, ...] = ()
    archive: str = ""
    member: str = ""
    client: str = ""
    package: str = ""
    url: str = ""


@cache
def manifest() -> dict[str, Any]:
    """Return the manifest: `datasets` and `archives`, as written in manifest.yaml."""
    import yaml

    return yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))


def entry(name: str) -> Entry:
    """Return the manifest's entry for one file, or raise DataError with the names that exist."""
    known: dict[str, dict[str, Any]] = dict(manifest()["archives"])
    for dataset in manifest()["datasets"].values():
        known.update(dataset["files"])
    if name not in known:
        raise DataError(f"no data file {name!r}; the manifest has: {', '.join(sorted(known))}")
    facts = known[name]
    digests = facts["sha256"]
    keep = {key: facts[key] for key in ("archive", "member", "client", "package", "url") if key in facts}
    return Entry(
        name=name,
        sha256=(digests,) if isinstance(digests, str) else tuple(digests),
        max_bytes=facts.get("max_bytes", facts.get("bytes", 0)),
        system=tuple(facts.get("system", ())),
        **keep,
    )


def locate(name: str) -> Path:
    """Return the path of a data file whose content was checked, fetching it once where it must be.

    Args:
        name: a file name of the manifest.

    Raises:
        DataError: one line with the file, what was tried, and how to give the folder by hand.
    """
    return find(entry(name))


def find(item: Entry) -> Path:
    """Look for one entry in the order of the module's docstring; see `locate`."""
    tried: list[str] = []
    if found := _look(item, tried) or _fetch(item, tried):
        return found
    raise DataError(
        f"{item.name}: not found. Tried {'; '.join(tried)}. "
        "To give it by hand: set JOULEMARK_DATA to a folder that holds this file"
        + (f" or {item.archive}" if item.archive else "")
    )


def _look(item: Entry, tried: list[str]) -> Path | None:
    """Go through the folders in order, noting in `tried` what was in vain."""
    own = os.environ.get("JOULEMARK_DATA")
    tried.append(f"JOULEMARK_DATA ({own or 'not set'})")
    for folder in ([Path(own)] if own else []) + [HERE]:
        if found := _checked(folder / item.name, item):
            return found
    tried.append("the vendored files")
    for path in map(Path, item.system):
        try:
            if found := _checked(path, item):
                return found
            tried.append(str(path))
        except DataError as error:
            tried.append(f"{path} (another version: {error})")
    tried.append(f"the cache {cache_folder()}")
    return _checked(cache_folder() / item.name, item)


def cache_folder() -> Path:
    """Return the folder for downloads: $JOULEMARK_CACHE, or data/ under the project root. Not made here."""
    return Path(os.environ.get("JOULEMARK_CACHE") or HERE.parent.parent / "data")


def _checked(path: Path, item: Entry) -> Path | None:
    """Return the path if it holds the entry's content, None if it is absent; a wrong file is an error."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size > item.max_bytes:
        raise DataError(f"{path}: {size} bytes, the limit is {item.max_bytes}; remove or replace it")
    digest = sha256_of(path)
    if digest not in item.sha256:
        expected = " or ".join(item.sha256)
        raise DataError(f"{path}: sha256 is {digest}, expected {expected}; remove or replace it")
    return path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Fetching: each source either leaves a checked file in the cache or raises DataError.


def _fetch(item: Entry, tried: list[str]) -> Path | None:
    """Try the sources of a download in order, noting in `tried` why each was in vain."""
    offline = bool(os.environ.get("JOULEMARK_OFFLINE"))
    sources: list[Callable[[Entry], Path]] = []
    if item.client and not offline:
        sources.append(_from_client)
    if item.archive:  # it may lie in one of the folders, so this needs no network
        sources.append(_from_archive)
    if item.url and not offline:
        sources.append(_from_address)
    if offline and not item.archive and (item.client or item.url):
        tried.append("no download, since JOULEMARK_OFFLINE is set")
    for source in sources:
        try:
            return source(item)
        except (DataError, OSError) as error:
            tried.append(str(error))
    return None


@contextmanager
def _workspace() -> Iterator[Path]:
    """A temporary folder inside the cache, so that a finished file can be renamed into place."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    except OSError as error:
        reason = f"cache {folder} cannot be written ({error.strerror}); set JOULEMARK_CACHE"
        raise DataError(reason) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _keep(path: Path, item: Entry, source: str) -> Path:
    """Check a fetched file and move it into the cache under its own name."""
    try:
        _checked(path, item)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ").removesuffix("; remove or replace it")
        raise DataError(f"{source}: {reason}") from error
    target = cache_folder() / item.name
    os.replace(path, target)
    return target


def _from_client(item: Entry) -> Path:
    """Let a package client download a package; the kernel stops it from writing more than the limit."""
    command = (*CLIENTS[item.client], item.package)
    source = f"{command[0]} for {item.package}"
    if not shutil.which(command[0]):
        raise DataError(f"{source} (no {command[0]} here)")
    with _workspace() as work:
        try:
            done = subprocess.run(
                command,
                cwd=work,
                capture_output=True,
                text=True,
                timeout=CLIENT_SECONDS,
                preexec_fn=lambda: _limit_file_size(item.max_bytes),
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DataError(f"{source} ({type(error).__name__})") from error
        made = [path for path in work.iterdir() if path.is_file()]
        if done.returncode or len(made) != 1:
            said = (done.stderr.strip() or "no file came").splitlines()[-1]
            raise DataError(f"{source} (exit {done.returncode}: {said})")
        return _keep(made[0], item, source)


def _limit_file_size(size: int) -> None:
    import resource

    size = max(size, CLIENT_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _from_archive(item: Entry) -> Path:
    """Take the file out of an archive, which is itself looked for and fetched."""
    wanted = entry(item.archive)
    tried: list[str] = []
    archive = _look(wanted, []) or _fetch(wanted, tried)
    if archive is None:
        raise DataError("; ".join(tried))
    content = read_member(archive, item.member, item.max_bytes)
    with _workspace() as work:
        part = work / "part"
        part.write_bytes(content)
        return _keep(part, item, f"{archive} member {item.member}")


def _from_address(item: Entry) -> Path:
    """Stream the file from its address, giving up as soon as it is larger than the limit."""
    from http.client import HTTPException
    from urllib.request import urlopen

    with _workspace() as work:
        part, size = work / "part", 0
        try:
            with urlopen(item.url, timeout=ADDRESS_SECONDS) as answer, part.open("wb") as out:  # noqa: S310
                while block := answer.read(CHUNK):
                    size += len(block)
                    if size > item.max_bytes:
                        raise DataError(f"{item.url}: more than the limit of {item.max_bytes} bytes")
                    out.write(block)
        except (OSError, HTTPException, ValueError) as error:
            raise DataError(f"{item.url} ({getattr(error, 'reason', error)})") from error
        return _keep(part, item, item.url)
