"""The machine as jobs see it: locks that a killed process cannot leave behind, and the lease of the machine."""

from __future__ import annotations

import fcntl
import os
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def _open(path: Path) -> IO[Any]:
    # O_CREAT on another user's file in a sticky folder is refused by fs.protected_regular: open first, create after
    try:
        return open(path, "r+")
    except FileNotFoundError:
        return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except PermissionError:
        return open(path)


@contextmanager
def lease(*, exclusive: bool) -> Iterator[None]:
    """The machine's lease: shared while training, exclusive while measuring, also between workflows."""
    folder = Path(os.environ.get("JOULEMARK_LEASE", tempfile.gettempdir()))
    with flock(folder / "joulemark.lease", shared=not exclusive):
        yield
