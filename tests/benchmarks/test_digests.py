# ruff: noqa: E501 - pieces of source as tables
"""Digests: what makes a cell new, and what does not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.digests import ROOT, closure, digest, imports, source_digest, syntax

BASE = '''"""A module."""
from dataclasses import dataclass

SCALE = 2.0


@dataclass(frozen=True)
class Thing:
    """A thing."""

    size: int = 3
    reach: int = knob(2, low=1, help="how far")
    cpu_factor = 1.5

    def grow(self, by: int = 1) -> "Thing":
        """Grow."""
        if by > 0 and not by == 7:
            return Thing(self.size + by)
        return self
'''
#: Edits that change nothing that runs.
SAME = {
    "a comment": ("SCALE = 2.0", "SCALE = 2.0  # twice"),
    "a docstring": ('"""Grow."""', '"""Grow the thing by some."""'),
    "no docstring": ('    """A thing."""\n', ""),
    "the module's docstring": ('"""A module."""', '"""Another text, """'),
    "a longer one": ('"""A thing."""', '"""A thing.\n\n    With more words.\n    """'),
    "blank lines": ("\n\n\n@dataclass", "\n@dataclass"),
    "quotes": ('-> "Thing"', "-> 'Thing'"),
    "brackets": ("if by > 0 and not by == 7:", "if (by > 0) and (not by == 7):"),
    "line breaks": (
        "Thing(self.size + by)",
        "Thing(\n                self.size\n                + by,\n            )",
    ),
    "a knob's help": ('help="how far"', 'help="how far it goes"'),
    "a forecast": ("    cpu_factor = 1.5", "    cpu_factor = 2.5"),
    "a forecast with its type": ("    cpu_factor = 1.5", "    cpu_factor: ClassVar[float] = 2.5"),
    "small knobs": ("    cpu_factor = 1.5", "    small = {'size': 1}"),
    "indentation": ("        return self\n", "        return (\n  self)\n"),
}
#: Edits that change what runs.
OTHER = {
    "a constant": ("SCALE = 2.0", "SCALE = 2.1"),
    "its type": ("SCALE = 2.0", "SCALE = 2"),
    "a sign": ("by > 0", "by >= 0"),
    "a name": ("grow", "groww"),
    "a default": ("by: int = 1", "by: int = 2"),
    "an annotation": ("size: int", "size: float"),
    "a decorator": ("(frozen=True)", "(frozen=False)"),
    "order": ("self.size + by", "by + self.size"),
    "an import": ("from dataclasses import dataclass", "from dataclasses import dataclass, field"),
    "a string that is no docstring": ("    size: int = 3\n", '    size: int = 3\n    what = "x"\n'),
    "a knob's bound": ("low=1", "low=0"),
    "a forecast's name in a function": (
        "        return self\n",
        "        cpu_factor = 2.5\n        return self\n",
    ),
    "grouping": ("by > 0 and not by == 7", "not (by > 0 and by == 7)"),
}


@pytest.mark.parametrize("edit", SAME)
def test_what_says_nothing_changes_nothing(edit: str) -> None:
    old, new = SAME[edit]
    assert BASE.count(old) == 1
    assert syntax(BASE.replace(old, new)) == syntax(BASE)


@pytest.mark.parametrize("edit", OTHER)
def test_what_runs_counts(edit: str) -> None:
    old, new = OTHER[edit]
    assert old in BASE
    assert syntax(BASE.replace(old, new)) != syntax(BASE)


def test_digest_is_over_sorted_json() -> None:
    by_hand = hashlib.sha256(b'{"a":[1,2.5,null],"b":"\\u00e4"}').hexdigest()[:12]
    assert digest({"b": "ä", "a": [1, 2.5, None]}) == by_hand
    assert digest([1]) != digest([1.0]) != digest(["1"])


# -------------------------------------------------------------------- files and what they import


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project in small: a method, its family's module, a model, the harness."""
    files = {
        "methods/__init__.py": "",
        "methods/base.py": "from benchmarks.knobs import knob\nVERSION = 1\n",
        "methods/pruning/__init__.py": "",
        "methods/pruning/good.py": (
            "import torch\nimport numpy as np\nfrom methods.base import Method\nfrom methods.pruning.masks import Masks\n"
        ),
        "methods/pruning/masks.py": (
            "from benchmarks.run import Run\nfrom .deep import depth\ndef late():\n    import benchmarks.models.net\n"
        ),
        "methods/pruning/deep.py": "LEVEL = 3\n",
        "methods/pruning/other.py": "NOTHING = 0\n",
        "benchmarks/models/net.py": "WIDTH = 10\n",
        "benchmarks/run.py": "STEPS = 10\n",
        "benchmarks/tasks/base.py": "X = 1\n",
        "torch.py": "import methods.pruning.other\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def own(tree: Path) -> list[str]:
    return [path.relative_to(tree).as_posix() for path in closure(tree / "methods/pruning/good.py", tree)]


def total(tree: Path) -> str:
    return source_digest(closure(tree / "methods/pruning/good.py", tree), tree)


def rewrite(path: Path, text: str) -> None:
    """Write with another time stamp: digests are cached by it."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_the_closure_is_the_family_and_the_models(tree: Path) -> None:
    """Relative imports, imports inside functions and packages are followed; the harness and strangers are not."""
    assert [name for name in own(tree) if not name.endswith("__init__.py")] == [
        "benchmarks/models/net.py",
        "methods/pruning/deep.py",
        "methods/pruning/good.py",
        "methods/pruning/masks.py",
    ]


@pytest.mark.parametrize("name", ["methods/pruning/good.py", "methods/pruning/masks.py", "methods/pruning/deep.py",
                                  "benchmarks/models/net.py"])  # fmt: skip
def test_a_constant_in_an_imported_helper_counts(name: str, tree: Path) -> None:
    before = total(tree)
    rewrite(tree / name, (tree / name).read_text() + "MORE = 1\n")
    assert total(tree) != before


@pytest.mark.parametrize("name", ["methods/base.py", "benchmarks/run.py", "benchmarks/tasks/base.py", "torch.py",
                                  "methods/pruning/other.py"])  # fmt: skip
def test_the_harness_and_strangers_do_not_count(name: str, tree: Path) -> None:
    before = total(tree)
    rewrite(tree / name, (tree / name).read_text() + "MORE = 1\n")
    assert total(tree) == before


def test_a_comment_in_a_helper_does_not_count(tree: Path) -> None:
    before = total(tree)
    rewrite(tree / "methods/pruning/deep.py", "# words\nLEVEL = 3\n")
    assert total(tree) == before


def test_the_place_of_the_checkout_does_not_count(tree: Path) -> None:
    before = total(tree)
    assert total(tree.rename(tree.with_name("moved"))) == before


def test_imports_at_any_depth(tree: Path) -> None:
    found = {path.relative_to(tree).as_posix() for path in imports(tree / "methods/pruning/masks.py", tree)}
    assert found >= {"benchmarks/run.py", "methods/pruning/deep.py", "benchmarks/models/net.py"}
    assert "methods/pruning/other.py" not in found


def test_a_plugin_outside_the_project_counts_with_what_it_imports(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plugin = tmp_path_factory.mktemp("elsewhere") / "mine.py"
    plugin.write_text("from methods.pruning.masks import Masks\n")
    found = closure(plugin, tree)
    assert plugin in found and tree / "methods/pruning/deep.py" in found
    before = source_digest(found, tree)
    rewrite(tree / "methods/pruning/deep.py", "LEVEL = 4\n")
    assert source_digest(closure(plugin, tree), tree) != before
    there = tmp_path_factory.mktemp("other") / "mine.py"
    there.write_text(plugin.read_text())
    assert source_digest([plugin], tree) == source_digest([there], tree)  # where it lies says nothing


# -------------------------------------------------------------------- other Pythons


def pythons() -> list[Path | str]:
    found: list[Path | str] = [sys.executable]
    for version in ("3.11", "3.12", "3.13"):
        places = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        found += places[-1:]
    return found


def test_the_serialiser_is_equal_on_every_python() -> None:
    """All sources of the project give the same text on Python 3.11, 3.12 and 3.13, where those are installed."""
    code = (
        "import hashlib, json, sys\n"
        "sys.path.insert(0, '.')\n"
        "from benchmarks.digests import syntax\n"
        "texts = json.load(sys.stdin)\n"
        "print('%d.%d' % sys.version_info[:2])\n"
        "print(json.dumps({name: hashlib.sha256(syntax(text).encode()).hexdigest() for name, text in texts.items()}))"
    )
    folders = ("benchmarks", "methods", "reports", "joulemark", "tests")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    texts = json.dumps({path.relative_to(ROOT).as_posix(): path.read_text() for path in files})
    answers: dict[str, dict[str, str]] = {}
    for python in pythons():
        child = subprocess.run([python, "-c", code], input=texts, capture_output=True, text=True, cwd=ROOT)
        if child.returncode == 0:
            version, text = child.stdout.split("\n", 1)
            answers[version] = json.loads(text)
    if len(answers) < 2:
        pytest.skip("one Python only: install 3.11, 3.12 and 3.13 with pyenv to compare them")
    first, *others = answers.values()
    wrong = sorted({name for other in others for name in first if other[name] != first[name]})
    assert not wrong, f"on Python {', '.join(answers)} these sources differ: {', '.join(wrong)}"


def test_the_serialiser_hides_no_field() -> None:
    """Every field of a tree is written, save those that say nothing; a new Python's new field would show here."""
    known = (
        "type T[X] = list[X]\ndef f[Y: int](y: Y) -> Y: return y\n"
        if sys.version_info >= (3, 12)
        else "x: int = 1\n"
    )
    assert "Name:" not in syntax(known) and "str:" in syntax(known)
    assert "ctx" not in syntax("a = b") and "lineno" not in syntax("a = b")
    for left, right in [("a = 1", "a = True"), ("a = 'x'", "a = b'x'"), ("a = 1", "a = 1.0"), ("f(*a)", "f(a)"),
                        ("a[b:c]", "a[b:c:d]"), ("lambda: 1", "lambda x: 1"), ("f'{a}'", "f'{a!r}'"),
                        ("f'{a:.1f}'", "f'{a:.2f}'"), ("a = [1]", "a = (1,)"), ("yield_ = 0", "yield_ = -0")]:  # fmt: skip
        assert syntax(left) != syntax(right), (left, right)
