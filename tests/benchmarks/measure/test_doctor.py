"""joulemark doctor: one page that says what can be measured, and for what cannot the reason and the remedy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure.meters.none import NoMeter
from joulemark import doctor
from joulemark.cli import main
from reports.judging.statistics import student


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(doctor.time, "sleep", lambda seconds: None)
    assert main(["doctor", "--quick"]) == 0
    return capsys.readouterr().out


def test_everything_is_on_the_page(page: str) -> None:
    first = {line[:24].strip() for line in page.splitlines() if not line.startswith(" ")}
    assert first >= {
        "machine", "torch", "codecarbon", "container", "CPU quota", "CPU governor", "neighbours", "clocks",
        "energy of the CPU", "energy of the GPU", "modelled energy", "carbon", "report.pdf", "small C kernels",
    }  # fmt: skip
    assert max(map(len, page.splitlines())) <= 120
    assert len(page.splitlines()) < 60  # a page


def test_what_is_missing_says_why_and_what_to_do(page: str) -> None:
    if "energy of the CPU        null" in page:
        assert "/sys/class/powercap" in page
    if "energy of the GPU        null" in page:
        assert "NVIDIA" in page or "nvidia" in page


def test_a_meters_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "no permission to read energy_uj: sudo chmod a+r energy_uj"
    monkeypatch.setattr(
        "benchmarks.measure.meters.meters_for", lambda kind: [NoMeter("cpu_package", why, "rapl")]
    )
    assert list(doctor._sensors()) == [("energy of the CPU", f"null: {why}", "")]


def test_a_quota_and_a_saving_governor_have_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {
        "container": "docker", "hypervisor": False, "cpu_quota_cores": 1.5, "governor": "powersave", "load": 0.0,
    }  # fmt: skip
    monkeypatch.setattr("benchmarks.measure.machine.preflight", lambda: told)
    monkeypatch.setattr(doctor.time, "sleep", lambda seconds: None)
    lines = {what: (state, remedy) for what, state, remedy in doctor._surroundings()}
    assert lines["container"][0] == "docker, bare metal"
    assert lines["CPU quota"][0] == "1.5 cores" and "whole cores" in lines["CPU quota"][1]
    assert "performance" in lines["CPU governor"][1]


@pytest.mark.parametrize(
    ("logs", "says"),
    [
        ([0.001, -0.001, 0.0], "it should be 2, and is"),
        (
            [0.02, 0.021, 0.022],
            "it should be 2, and is",
        ),  # within 3 %: one process has no spread between processes
        ([0.08, 0.081, 0.079], "NOT 2"),
        ([0.5, -0.5, 0.0], "too wide to tell"),
    ],
)
def test_a_known_ratio_is_judged_by_its_interval(logs: list[float], says: str) -> None:
    found = student([math.log(2) + log for log in logs]).exp()
    assert says in doctor._interval(found, 2.0, "wall clock")


def test_the_real_check_is_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.measure import known

    seen: dict[str, Any] = {}

    def child(command: list[str], **how: Any) -> Any:
        seen.update(how["env"])
        stdout = '{"same": [0.0, 0.01], "double": [0.69, 0.70], "clocks": ["cpu"], "clean": 0.5}'
        return type("Done", (), {"returncode": 0, "stdout": stdout})

    monkeypatch.setattr(known.subprocess, "run", child)
    lines = list(doctor.known_ratio())
    assert [what for what, _, _ in lines] == ["noise floor (A/A)", "known ratio"]
    assert "cpu clock, 50% of the samples clean" in lines[0][1]
    # two spinning threads beside a neighbour would be off by half
    assert (
        seen["OMP_NUM_THREADS"] == seen["OPENBLAS_NUM_THREADS"] == "1"
        and seen["OMP_WAIT_POLICY"] == "PASSIVE"
    )


def test_the_noise_study_is_handed_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr("joulemark.noise.run_noise", lambda *how: given.append(how) or 0)
    assert main(["doctor", "--noise", "--rounds", "4", "--conditions", "quiet", "--out", str(tmp_path)]) == 0
    assert given == [(4, ["quiet"], tmp_path)]
