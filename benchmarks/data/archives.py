"""Read single members of .deb, .tar and .zip archives into memory.

Nothing is extracted: a member's own path names no file on disk, so a hostile path has nowhere to lead. Only
the standard library is used; a .deb is an `ar` file that holds a `data.tar`.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError)


class DataError(RuntimeError):
    """A data file is missing, damaged or too large; the message is one line that says what to do."""


def read_members(archive: Path, wanted: Callable[[str], bool], limit: int) -> dict[str, bytes]:
    """Return the contents of the regular files in an archive whose names are wanted.

    Args:
        archive: a .deb, .whl or .zip file, or a tar with or without gz, bz2 or xz.
        wanted: takes a member's name (without a leading "./") and says whether to read it.
        limit: largest number of bytes that may be read in all.

    Returns:
        Member name to content, in the order of the archive. Links, devices and folders are never read.

    Raises:
        DataError: the archive cannot be read, or the wanted members are larger than `limit`.
    """
    read = _zip_members if archive.suffix in (".whl", ".zip") else _tar_members
    try:
        return read(archive, wanted, limit)
    except BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{archive}: not a readable archive ({reason})") from error


def read_member(archive: Path, member: str, limit: int) -> bytes:
    """Return the content of one regular file in an archive; more than `limit` bytes are a DataError."""
    found = read_members(archive, lambda name: name == member, limit)
    if member not in found:
        raise DataError(f"{archive}: holds no regular file {member}")
    return found[member]


def _tar_members(archive: Path, wanted: Callable[[str], bool], limit: int) -> dict[str, bytes]:
    source = io.BytesIO(deb_payload(archive)) if archive.suffix == ".deb" else archive.open("rb")
    found: dict[str, bytes] = {}
    with source, tarfile.open(fileobj=source, mode="r:*") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if not info.isreg() or not wanted(name):
                continue
            limit = _spend(archive, limit, info.size)
            stream = tar.extractfile(info)
            found[name] = stream.read() if stream else b""
    return found


def _zip_members(archive: Path, wanted: Callable[[str], bool], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as package:
        for info in package.infolist():
            if info.is_dir() or not wanted(info.filename):
                continue
            with package.open(info) as stream:  # the size in the header may lie: read one byte past the limit
                content = stream.read(limit + 1)
            limit = _spend(archive, limit, len(content))
            found[info.filename] = content
    return found


def _spend(archive: Path, limit: int, size: int) -> int:
    if size > limit:
        raise DataError(f"{archive}: what it holds is larger than the limit ({limit} bytes left)")
    return limit - size


def deb_payload(deb: Path) -> bytes:
    """Return the `data.tar` of a Debian package, still compressed.

    The `ar` layout: a magic line, then for each member a header of 60 bytes (name 0-15, size 48-57 in
    decimal, end mark 58-59) and the content, padded to an even length.
    """
    with deb.open("rb") as stream:
        if stream.read(len(AR_MAGIC)) != AR_MAGIC:
            raise DataError(f"{deb}: not a Debian package (no ar header)")
        while header := stream.read(AR_HEADER):
            if len(header) < AR_HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
                raise DataError(f"{deb}: damaged ar header")
            name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                content = stream.read(size)
                if len(content) != size:
                    raise DataError(f"{deb}: cut off inside {name}")
                return content
            stream.seek(size + size % 2, io.SEEK_CUR)
    raise DataError(f"{deb}: holds no data.tar")
