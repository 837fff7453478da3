"""The machine as jobs see it: locks that a killed process cannot leave behind, and the lease of the machine."""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

#: A lock lives as long as its file object; a local name inside a workflow's hook dies with the hook.
HELD: list[IO[Any]] = []


def use_this_python(root: Path) -> None:
    """Let shell jobs find this Python and this project, wherever the workflow was started."""
    os.environ["PYTHONPATH"] = str(root)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # spinning threads beside a neighbour cost seven times the CPU and falsify energy
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def claim(path: str) -> None:
    """Keep a second run out of this directory; the kernel drops the lock when the process dies, however it dies.

    Raises:
        SystemExit: another run is at work here.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise SystemExit(
            f"Another run (process {file.read().strip()}) is at work in this directory: wait for it or stop it."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    HELD.append(file)


@contextmanager
def flock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a file lock; waits for it without a limit."""
    with _open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def _open_lock(path: Path) -> IO[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_CREAT on another user's file in a sticky folder is refused by fs.protected_regular: open first, create after
    try:
        return open(path, "r+")
    except FileNotFoundError:
        return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except PermissionError:
        return open(path)


@contextmanager
def lease(*, exclusive: bool, device: str = "") -> Iterator[None]:
    """The lease of the machine, or of one device by its UUID: shared while training, exclusive while measuring.

    It holds between workflows and is fair. Everybody passes a turnstile, one at a time, and whoever waits for the
    lease keeps it: a round that waits lets no further training pass, so it waits for those that are at work and
    for no other. Both are locks of the kernel, which a waiter that dies does not leave behind.
    """
    folder = Path(os.environ.get("JOULEMARK_LEASE", tempfile.gettempdir()))
    path = folder / (f"joulemark.{_file_name(device)}.lease" if device else "joulemark.lease")
    with _open_lock(path) as file:
        with flock(path.with_suffix(".turnstile")):
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def _file_name(device: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in device)
