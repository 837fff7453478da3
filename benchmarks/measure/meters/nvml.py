"""One NVIDIA board as NVML shows it: what the meters read. Nothing is set, polled fast or kept in a context.

Every answer is a number, None where the board or the driver does not have it, or a MeterError where the board is
gone. NVML counts milliwatts and millijoules; here are watts and joules.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from benchmarks.doubles import LIBRARY
from benchmarks.measure.meters.base import MeterError

#: Field values of nvml.h: mean power over a second, and of the moment (on some boards 25 of 100 ms).
_AVERAGE, _INSTANT = 185, 186


@dataclass(frozen=True)
class BoardState:
    """What may make a window doubtful; None where the board does not tell.

    Attributes:
        temperature_c: of the chip.
        sm_mhz: clock of the multiprocessors.
        reasons: bits of nvml.h that say why the clock is not higher (`nvmlClocksEventReason...`).
    """

    temperature_c: float | None = None
    sm_mhz: float | None = None
    reasons: int | None = None


class Board(Protocol):
    """What the meters ask of a board; tests bring a fake one."""

    uuid: str
    facts: dict[str, Any]

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where the board has no counter."""

    def power_w(self) -> tuple[float | None, float | None]:
        """(mean over the last second, of the moment) in watts."""

    def state(self) -> BoardState:
        """Temperature, clock and what holds it down."""

    def pids(self) -> list[int] | None:
        """Processes with a context on the board; None where nobody can say."""


@cache
def nvml() -> Any:
    """The module pynvml, initialised.

    Raises:
        MeterError: no package, no driver, no permission.
    """
    if path := os.environ.get(LIBRARY):
        ctypes.CDLL(path)  # its soname then stands for the driver's library
    try:
        import pynvml
    except ImportError:
        raise MeterError("the package nvidia-ml-py is missing: make setup") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise MeterError(f"no NVIDIA driver answers ({error}): install it, or run where one is") from None
    return pynvml


def boards() -> list[str]:
    """The UUIDs of all boards, in NVML's order (that of CUDA may differ).

    Raises:
        MeterError: NVML does not answer.
    """
    lib = nvml()
    try:
        handles = [lib.nvmlDeviceGetHandleByIndex(at) for at in range(lib.nvmlDeviceGetCount())]
        return [_text(lib.nvmlDeviceGetUUID(handle)) for handle in handles]
    except lib.NVMLError as error:
        raise MeterError(f"NVML does not list its boards: {error}") from None


def open_board(uuid: str = "") -> NvmlBoard:
    """A board by its UUID.

    Args:
        uuid: or a number in NVML's order, or "" where there is one board only.

    Raises:
        MeterError: no such board, or a slice of one.
    """
    if uuid.startswith("MIG"):
        raise MeterError(
            f"{uuid}: a MIG slice has no energy of its own, measure on a board with MIG disabled"
        )
    known = boards()
    if uuid.isdigit() and int(uuid) < len(known):
        uuid = known[int(uuid)]
    if not uuid and len(known) == 1:
        uuid = known[0]
    if not uuid:
        raise MeterError(f"{len(known)} boards and no UUID that says which is measured")
    lib = nvml()
    try:
        board = NvmlBoard(lib, lib.nvmlDeviceGetHandleByUUID(uuid), uuid)
    except lib.NVMLError as error:
        raise MeterError(f"no board {uuid}: {error}; there are {', '.join(known) or 'none'}") from None
    if board.facts["mig"]:
        raise MeterError(
            f"{uuid}: MIG is enabled, and its slices share one counter; disable it to measure energy"
        )
    return board


class NvmlBoard:
    """A board behind pynvml.

    Args:
        lib: the module pynvml.
        handle: of the board.
        uuid: that it was asked for.
    """

    def __init__(self, lib: Any, handle: Any, uuid: str) -> None:
        self._lib, self._handle, self.uuid = lib, handle, uuid
        self._absent = {lib.NVML_ERROR_NOT_SUPPORTED, lib.NVML_ERROR_FUNCTION_NOT_FOUND}
        self.facts = self._facts()

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where the board has no counter."""
        value = self._ask(lambda: self._lib.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if value is None else value / 1000.0

    def power_w(self) -> tuple[float | None, float | None]:
        """(mean over the last second, of the moment) in watts.

        Where a driver has no field values, the plain reading counts as of the moment: on boards before Ampere it
        is, and on others nobody is misled.
        """
        average, instant = self._field_w(_AVERAGE), self._field_w(_INSTANT)
        if average is None and instant is None:
            usage = self._ask(lambda: self._lib.nvmlDeviceGetPowerUsage(self._handle))
            instant = None if usage is None else usage / 1000.0
        return average, instant

    def state(self) -> BoardState:
        """Temperature, clock and what holds it down."""
        lib, handle = self._lib, self._handle
        return BoardState(
            self._tell(lambda: lib.nvmlDeviceGetTemperature(handle, lib.NVML_TEMPERATURE_GPU)),
            self._tell(lambda: lib.nvmlDeviceGetClockInfo(handle, lib.NVML_CLOCK_SM)),
            self._tell(lambda: lib.nvmlDeviceGetCurrentClocksEventReasons(handle)),
        )

    def pids(self) -> list[int] | None:
        """Processes with a context on the board; None where nobody can say."""
        found = self._tell(lambda: self._lib.nvmlDeviceGetComputeRunningProcesses(self._handle))
        return None if found is None else [one.pid for one in found]

    def _facts(self) -> dict[str, Any]:
        """What tells two boards and two set-ups apart; nulls where the driver does not say."""
        lib, handle = self._lib, self._handle
        mig = self._tell(lambda: lib.nvmlDeviceGetMigMode(handle))
        asked: dict[str, Callable[[], Any]] = {
            "name": lambda: _text(lib.nvmlDeviceGetName(handle)),
            "driver": lambda: _text(lib.nvmlSystemGetDriverVersion()),
            "vbios": lambda: _text(lib.nvmlDeviceGetVbiosVersion(handle)),
            "power_limit_w": lambda: lib.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0,
            "default_limit_w": lambda: lib.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000.0,
            "most_sm_mhz": lambda: lib.nvmlDeviceGetMaxClockInfo(handle, lib.NVML_CLOCK_SM),
            "ecc": lambda: bool(lib.nvmlDeviceGetEccMode(handle)[0]),
            "pcie": lambda: [
                lib.nvmlDeviceGetCurrPcieLinkGeneration(handle),
                lib.nvmlDeviceGetCurrPcieLinkWidth(handle),
            ],
        }
        told = {name: self._tell(ask) for name, ask in asked.items()}
        return {"uuid": self.uuid, "mig": bool(mig and mig[0]), **told}

    def _field_w(self, field: int) -> float | None:
        values = self._ask(lambda: self._lib.nvmlDeviceGetFieldValues(self._handle, [field]))
        if values is None or values[0].nvmlReturn in self._absent | {self._lib.NVML_ERROR_INVALID_ARGUMENT}:
            return None
        if values[0].nvmlReturn:
            raise MeterError(self._reason(self._lib.NVMLError(values[0].nvmlReturn)))
        return float(_number(values[0])) / 1000.0

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """An answer; None where the board or the driver does not have it.

        Raises:
            MeterError: anything else went wrong.
        """
        try:
            return ask()
        except self._lib.NVMLError as error:
            if error.value in self._absent:
                return None
            raise MeterError(self._reason(error)) from None

    def _tell(self, ask: Callable[[], Any]) -> Any:
        """What only describes the board: None where it is not told, whatever the reason."""
        try:
            return ask()
        except self._lib.NVMLError:
            return None

    def _reason(self, error: Any) -> str:
        if error.value == self._lib.NVML_ERROR_GPU_IS_LOST:
            return f"device lost: {self.uuid} does not answer any more"
        return f"NVML of {self.uuid}: {error}"


def _number(value: Any) -> float:
    """A field value by its own type: `uiVal` of a long one is its low half only."""
    kinds = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
    return float(getattr(value.value, kinds[value.valueType]))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
