"""Progress: which scope a command line asks for."""

from __future__ import annotations

import pytest

from joulemark.progress import wanted_scope


@pytest.mark.parametrize(
    ("line", "scope"),
    [
        ("--cores 2", "all"),
        ("--cores all tour --config plan=default", "tour"),
        ("--cores all", "all"),
        ("-j all paper_gradual-pruning", "paper_gradual-pruning"),
        ("--cores 2 all", "all"),
        ("study_bits-curve --cores 4", "study_bits-curve"),
    ],
)
def test_the_scope_of_a_command_line(line: str, scope: str) -> None:
    assert wanted_scope(line.split()) == scope
