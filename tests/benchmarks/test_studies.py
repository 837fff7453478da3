# ruff: noqa: E501 - a table, one mistake a line
"""Tuning studies: a committed result is what `tuned` means in a card, and what a report counts as settings tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import studies
from benchmarks.knobs import InputError
from tests.benchmarks.test_cards import CARD, load

STUDY = {"study": {"card": "tiny", "trials": 8, "by": "accuracy"}, "knobs": {"hidden": 7, "lr_factor": 2.5}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "tiny.tiny_wide.yaml").write_text(yaml.safe_dump(STUDY))
    monkeypatch.setattr(studies, "FOLDER", tmp_path / "tuning")
    return tmp_path


def test_a_card_takes_what_the_study_found(folder: Path, tiny_index: Any) -> None:
    text = CARD.replace("{hidden: [4, 8]}", "[{hidden: tuned, lr_factor: tuned}, {hidden: 4}]")
    (run,) = load(text, folder, tiny_index).runs
    found = [arm.method["knobs"] for arm in run.arms if arm.method["method"] == "tiny_wide"]
    assert [(knobs["hidden"], knobs.get("lr_factor", 1.0)) for knobs in found] == [(7, 2.5), (4, 1.0)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{hidden: [4, 8]}", "{drop: tuned}", r"methods.tiny_wide.drop: `tuned` needs benchmarks/tuning/tiny.tiny_wide.yaml with drop"),
        ("{start: [baseline, ", "{lr_factor: tuned, start: [baseline, ", r"methods.tiny_half.lr_factor: `tuned` needs"),
        ("    methods:", "    baseline: {tiny_keeps: {lr_factor: tuned}}\n    methods:", r"baseline.tiny_keeps.lr_factor: `tuned` needs"),
    ],
)  # fmt: skip
def test_a_study_that_is_not_there_is_one_line(
    old: str, new: str, says: str, folder: Path, tiny_index: Any
) -> None:
    with pytest.raises(InputError, match=says):
        load(CARD.replace(old, new), folder, tiny_index)


def test_summaries_are_of_what_is_there(folder: Path) -> None:
    found = studies.summaries({"tiny", "other"}, {"tiny_wide", "tiny_half"})
    assert found == {"tiny.tiny_wide": {**STUDY["study"], "knobs": STUDY["knobs"]}}


def test_trials_count_as_settings_tried(folder: Path) -> None:
    from reports.judging.remarks import settings
    from tests.reports.test_effects import check, seeds, table

    rows = table(seeds("a", 0.5), seeds("b", 0.5))
    card = {"runs": [{"task_id": rows.arms["a"]["task_id"], "arms": ["a", "b"]}]}
    said = check(of="a", minus={"best": ["a", "b"], "by": ""})
    assert settings(rows, card, said) == {
        "tried_of": 1,
        "tried_other": 2,
        "tried": "settings tried: 1 against 2 (chosen on validation data)",
    }
    rows.arms["a"]["knobs"]["lr_factor"] = 2.0
    rows.scope["tuning"] = {"images.a": {"trials": 8, "knobs": {"lr_factor": 1.5}}}
    assert settings(rows, card, said)["tried_of"] == 1  # another setting was tuned, not this one
    rows.scope["tuning"] = {"images.a": {"trials": 8, "knobs": {"lr_factor": 2.0}}}
    found = settings(rows, card, said)
    assert (found["tried_of"], found["tried_other"]) == (9, 10)
    assert found["tried"].startswith("settings tried: 9 (after 8 tuning trials) against 10 (chosen on")
