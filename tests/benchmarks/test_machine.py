"""The machine: locks that a killed process cannot leave behind, and what it did while a round ran."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import host
from benchmarks.host import claim, flock, lease
from benchmarks.measure import machine, protocol
from benchmarks.measure.machine import Watch, high_water_bytes

ROOT = Path(__file__).resolve().parents[2]

# -------------------------------------------------------------------- watching


class Proc:
    """/proc as a test wants it, and clocks that go with it."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.wall = self.process = 0.0

    def stat(self, user: float, steal: float = 0.0) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        self.files["/proc/stat"] = (
            f"cpu  {int(user * tick)} 0 0 9999 0 0 0 {int(steal * tick)} 0 0\ncpu0 1 2 3\n"
        )


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> Proc:
    made = Proc()
    monkeypatch.setattr(machine, "_read", made.files.get)
    clocks = SimpleNamespace(perf_counter=lambda: made.wall, process_time=lambda: made.process)
    monkeypatch.setattr(machine, "time", clocks)
    return made


def test_others_are_all_that_is_busy_beside_this_process(proc: Proc) -> None:
    proc.stat(user=100.0)
    watch = Watch()
    proc.stat(user=115.0, steal=1.0)  # 15 s of work and 1 s stolen
    proc.wall, proc.process = 10.0, 9.0
    state = watch.stop()
    assert state["others_cores"] == pytest.approx((16 - 9) / 10) and state["steal_share"] == pytest.approx(
        0.1
    )


def test_an_idle_machine_has_no_others(proc: Proc) -> None:
    proc.stat(user=100.0)
    watch = Watch()
    proc.stat(user=104.9)  # the kernel counts in ticks: a little less than the own clock says
    proc.wall, proc.process = 5.0, 5.0
    assert watch.stop()["others_cores"] == 0.0


def test_what_a_system_does_not_tell_is_null(proc: Proc) -> None:
    state = Watch().stop()
    assert state["others_cores"] is None and state["steal_share"] is None
    assert state["free_bytes"] is None and state["pressure"] is None
    proc.files["/proc/meminfo"] = "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"
    proc.files["/proc/pressure/cpu"] = "some avg10=1.00\nfull avg10=0.00\n"
    state = Watch().stop()
    assert state["free_bytes"] == 2048 * 1024 and state["pressure"] == ["some avg10=1.00"]


def test_what_is_known_before_a_round(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts or null, never a guess; nothing of it gates."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    found = machine.preflight()
    assert {
        found[name] for name in ("governor", "hypervisor", "container", "cpu_quota_cores", "free_bytes")
    } == {None}
    assert found["usable_cores"] >= 1
    proc.files |= {
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "/proc/cpuinfo": "flags : fpu hypervisor sse\n",
        "/proc/1/cgroup": "0::/kubepods/pod1\n",
        "/sys/fs/cgroup/cpu.max": "150000 100000\n",
    }
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    found = machine.preflight()
    told = [found[name] for name in ("governor", "hypervisor", "container", "cpu_quota_cores", "wait_policy")]
    assert told == ["powersave", True, "kubepods", 1.5, "PASSIVE"]
    proc.files["/sys/fs/cgroup/cpu.max"] = "max 100000\n"
    assert machine.cpu_quota_cores() is None


CHILD = """
import sys, time
sys.stdin.read()
time.sleep(float(sys.argv[1]))
"""


def test_a_parent_that_waits_uses_no_processor() -> None:
    """As `run_round` waits: a second more of waiting costs its parent less than a hundredth of a second."""

    def own_seconds(seconds: float) -> float:
        before = time.process_time()
        subprocess.run([sys.executable, "-c", CHILD, str(seconds)], input="spec", text=True, check=True)
        return time.process_time() - before

    own_seconds(0.0)
    short = max(own_seconds(0.0) for _ in range(3))
    assert own_seconds(1.0) - short < 0.01


def test_the_high_water_mark_is_that_of_the_call() -> None:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        assert high_water_bytes(lambda: None) is None
        return

    def touch(megabytes: int) -> int:
        return len(bytes(bytearray(megabytes * 2**20)))  # two copies, written

    high_water_bytes(lambda: touch(1))
    small, large = high_water_bytes(lambda: touch(1)), high_water_bytes(lambda: touch(60))
    again = high_water_bytes(lambda: touch(1))
    assert small and large and again
    assert large - small > 50 * 2**20  # reset before the call: what was freed before does not count
    assert again < large - 50 * 2**20


def test_the_protocol_enters_every_visit() -> None:
    assert protocol.as_dict() == {
        "slot_s": 0.02, "clean_samples": 8, "min_cycles": 10, "max_cycles": 25, "threads": 1, "long_call_s": 0.1,
        "long_samples": 5, "clean_share": 0.01, "clock_gap": 0.02, "retries": 2,
    }  # fmt: skip


# -------------------------------------------------------------------- locks


def held_by_another(path: Path, *, shared: bool = False) -> bool:
    """True when a lock of this kind cannot be had now."""
    with open(path, "r+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_lock_is_held_and_dropped(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    with flock(path):
        assert held_by_another(path) and held_by_another(path, shared=True)
    assert not held_by_another(path)
    with flock(path, shared=True):
        assert held_by_another(path) and not held_by_another(path, shared=True)
    with pytest.raises(ValueError), flock(path):
        raise ValueError
    assert not held_by_another(path)


def test_the_lease_is_shared_while_training_and_alone_while_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOULEMARK_LEASE", str(tmp_path))
    with lease(exclusive=False), lease(exclusive=False):
        assert held_by_another(tmp_path / "joulemark.lease")
    with lease(exclusive=True):
        assert held_by_another(tmp_path / "joulemark.lease", shared=True)


def test_a_lease_of_another_user_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may only be read can still be locked."""
    path = tmp_path / "joulemark.lease"
    path.write_text("")
    real = open

    def refuse(name: object, mode: str = "r") -> object:
        if "+" in mode:
            raise PermissionError
        return real(name, mode)  # type: ignore[call-overload]

    monkeypatch.setattr(host, "open", refuse, raising=False)
    with flock(path):
        assert held_by_another(path, shared=True)
    monkeypatch.undo()
    assert not held_by_another(path)


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed the folder."""
    code = (
        "from benchmarks.host import claim; import sys, time\n"
        f"claim({str(tmp_path / '.snakemake' / 'lock')!r}); print('claimed', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout and child.stdout.readline() == "claimed\n"
    yield child
    child.kill()
    child.wait()


def test_a_second_run_is_told_who_is_at_work(tmp_path: Path, other_run: subprocess.Popen[str]) -> None:
    path = str(tmp_path / ".snakemake" / "lock")
    with pytest.raises(SystemExit) as end:
        claim(path)
    assert end.value.code == (
        f"Another run (process {other_run.pid}) is at work in this directory: wait for it or stop it."
    )
    other_run.send_signal(signal.SIGKILL)  # however it dies, nothing is left to clean up
    other_run.wait()
    before = len(host.HELD)
    claim(path)
    assert len(host.HELD) == before + 1 and Path(path).read_text() == str(os.getpid())
    host.HELD.pop().close()


def test_shell_jobs_find_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PATH", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "before")
    host.use_this_python(Path("/some/project"))
    assert os.environ["PYTHONPATH"] == "/some/project"
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "before"]
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
