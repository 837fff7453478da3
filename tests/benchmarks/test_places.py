"""What a file's syntax says about the names of its numbers; what it does not write out is None, anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import places


def write(tmp_path: Path, text: str) -> list[Path]:
    path = tmp_path / "x.py"
    path.write_text(text)
    return [path]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Scores(v)", []),
        ("Scores(v, {'level': a, 'domain': b})", ["domain", "level"]),
        ("Scores(v, axes={'level': a})", ["level"]),
        ("axes = {'level': a}\nScores(v, axes)", ["level"]),
        ("Scores(v, {'a': 1}); Scores(v, {'b': 1})", ["a", "b"]),
        ("Scores(v, make())", None),
        ("Scores(v, {**more})", None),
        ("Scores(v, {name: a})", None),
    ],
)
def test_axes(text: str, found: list[str] | None, tmp_path: Path) -> None:
    assert places.axes(write(tmp_path, text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("run.log.keep(model, round=7)", ["round"]),
        ("self.run.log.keep(m, round=1)\nlog.keep(m, stage='fit')", ["round", "stage"]),
        ("run.log.keep(model, **{name: 1})", None),
    ],
)
def test_keywords(text: str, found: list[str] | None, tmp_path: Path) -> None:
    assert places.keywords(write(tmp_path, text), "keep") == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("return {'cache_bytes': 1}", ["cache_bytes"]),
        ("return {}", []),
        ("if x:\n        return {'a': None}\n    return {'a': 1, 'b': 2}", ["a", "b"]),
        ("return {name: 1 for name in names}", None),
        ("found = {}\n    found[name] = 1\n    return found", None),
        ("return dict(a=1)", None),
        ("return helper()", None),
    ],
)
def test_returned(body: str, found: list[str] | None, tmp_path: Path) -> None:
    assert places.returned(write(tmp_path, f"def counted(self):\n    {body}\n"), "counted") == found
    assert places.returned(write(tmp_path, "x = 1"), "counted") == []
