"""Records: packed scores come back, files are whole or not there, and null is said by null."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from benchmarks.records import Store, dump, pack, read_json, unpack, write_json, write_text


@given(npst.arrays(bool, st.integers(0, 70)))
def test_bits_come_back_exactly(values: np.ndarray) -> None:
    text = pack(values)
    assert text.startswith(f"b{len(values)}:")
    assert unpack(text).dtype == float and np.array_equal(unpack(text), values.astype(float))


@given(npst.arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e30, 1e30)))
def test_numbers_come_back_as_float32(values: np.ndarray) -> None:
    assert np.array_equal(unpack(pack(values)), values.astype(np.float32).astype(float))


@given(st.lists(st.floats(-1024, 1024, width=32), min_size=1, max_size=30))
def test_packing_again_changes_nothing(values: list[float]) -> None:
    once = pack(np.array(values))
    assert pack(unpack(once)) == once


def test_scores_are_one_number_an_item() -> None:
    for shape in ((), (2, 3)):
        with pytest.raises(ValueError, match="scores are one number an item, not an array of shape"):
            pack(np.zeros(shape))


def test_right_and_wrong_answers_take_a_bit_each() -> None:
    rng = np.random.default_rng(0)
    assert len(pack(rng.integers(0, 2, 10_000))) < 10_000 / 8 * 4 / 3 * 1.02 + 30
    assert pack(np.ones(3)).startswith("b") and pack(np.array([0.0, 0.5])).startswith("f")
    assert np.isnan(unpack(pack(np.array([np.nan, 1.0])))[0])


# -------------------------------------------------------------------- files


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_a_torn_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new.json", "half of it \ud800")
    assert list(tmp_path.iterdir()) == []


def test_readers_see_the_old_or_the_new_file(tmp_path: Path) -> None:
    """Writing goes through another file and a rename: who has the old one open still reads it whole."""
    path = tmp_path / "deep" / "record.json"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {"a": [1, float("nan")]}])
def test_what_json_cannot_hold_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", value)
    assert list(tmp_path.iterdir()) == []


def test_dump_is_one_sorted_line(tmp_path: Path) -> None:
    assert dump({"b": 1, "a": None, "c": "two\nlines"}) == '{"a":null,"b":1,"c":"two\\nlines"}'
    write_json(tmp_path / "x.json", {"b": 1})
    assert (tmp_path / "x.json").read_text() == '{"b":1}\n'


def test_reading_what_is_not_there_or_torn(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"a": 1')
    (tmp_path / "good.json").write_text(json.dumps({"a": 1}))
    assert read_json(tmp_path / "torn.json") is None and read_json(tmp_path / "nosuch.json") is None
    assert read_json(tmp_path / "good.json" / "x.json") is None  # its folder is a file
    assert read_json(tmp_path / "good.json") == {"a": 1}


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("ok", True),
        ("diverged", True),
        ("failed", False),
        ("skipped", False),
        ("oom", False),
        ("timeout", False),
    ],
)
def test_only_ok_and_diverged_are_final(status: str, final: bool, tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_json(store.cell("abc"), {"status": status})
    assert bool(store.final("abc")) is final
    assert store.final("other") is None


def test_an_artefact_is_there_once_its_spec_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.artefact("abc").mkdir(parents=True)
    (store.artefact("abc") / "model.safetensors").write_bytes(b"x")
    assert not store.has_artefact("abc")
    write_json(store.artefact("abc") / "spec.json", {})
    assert store.has_artefact("abc")
