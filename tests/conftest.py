"""What all tests share: one thread, a lease of their own, an index that is made once, a folder to play in."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import copy
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.host import flock

if TYPE_CHECKING:
    from benchmarks.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = (ROOT / "tests" / "plugins" / "tiny.py", ROOT / "tests" / "plugins" / "tiny_faults.py")
#: What a plan of these tests says unless a test says otherwise.
SETTINGS: dict[str, Any] = {
    "cards": "all",
    "seeds": 1,
    "rounds": 0,
    "tour_rounds": 0,
    "limits": {"cell_minutes": 2, "memory_gb": 6},
}
CARD: dict[str, Any] = {
    "study": {"key": "tiny-study", "title": "a study on a tiny task"},
    "family": "pruning",
    "scope": "core",
    "grade": "C",
    "faithful": {},
    "runs": [{"task": {"tiny": {}}, "methods": {"baseline": {}}}],
    "claims": [{"id": "nothing", "says": "nothing", "not_tested": "a test of the harness"}],
}


@functools.cache
def load_index_once(folder: Path, plugins: str) -> dict[str, Any]:
    """The index with these plugins; made by one test process, read by the others."""
    from benchmarks.index import load_index

    before = os.environ.get("JOULEMARK_PLUGINS")
    os.environ["JOULEMARK_PLUGINS"] = plugins
    try:
        with flock(folder / "lock"):
            return load_index(folder)
    finally:
        os.environ.pop("JOULEMARK_PLUGINS")
        if before is not None:
            os.environ["JOULEMARK_PLUGINS"] = before


def index_folder(config: pytest.Config) -> Path:
    """Where the test processes of this checkout keep the index: it is named by what it is made from."""
    try:
        return Path(str(config.cache.mkdir("joulemark")))
    except (AttributeError, OSError):  # no cache plugin, or a checkout that cannot be written
        folder = Path(tempfile.gettempdir()) / f"joulemark-tests-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `method_name` or `task_name` runs once for each that the project has."""
    for fixture, name in (("method_name", "methods"), ("task_name", "tasks")):
        if fixture in metafunc.fixturenames:
            known = load_index_once(index_folder(metafunc.config), "")
            broken = [key for key, entry in known["errors"].items() if entry["kind"] in name]
            metafunc.parametrize(fixture, sorted([*known[name], *broken]))


@pytest.fixture(autouse=True, scope="session")
def _own_lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A workflow that measures on this machine must not wait for the tests, nor the tests for it."""
    before = os.environ.get("JOULEMARK_LEASE")
    os.environ["JOULEMARK_LEASE"] = str(tmp_path_factory.mktemp("lease"))
    yield
    del os.environ["JOULEMARK_LEASE"]
    if before is not None:
        os.environ["JOULEMARK_LEASE"] = before


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOULEMARK_PLUGINS", "JOULEMARK_SOURCES", "TINY_EVENTS", "TINY_FAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def index(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The index of the project alone."""
    return load_index_once(index_folder(pytestconfig), "")


@pytest.fixture(scope="session")
def tiny_index(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The index of the project and of tests/plugins."""
    return load_index_once(index_folder(pytestconfig), os.pathsep.join(map(str, PLUGINS)))


class House:
    """A project folder of its own: the real code, but plans, cards and results of the test."""

    def __init__(self, root: Path, indexes: Path) -> None:
        self.root, self.results = root, root / "results"
        self.papers = root / "benchmarks" / "papers"
        self.papers.mkdir(parents=True)
        (root / "config").mkdir()
        for path in [*(ROOT / "benchmarks").glob("*.py"), ROOT / "benchmarks" / "measure"]:
            (root / "benchmarks" / path.name).symlink_to(path)
        self.results.mkdir()
        (self.results / "index").symlink_to(indexes / "index")
        self.write_plan()

    def write_plan(self, name: str = "default", **settings: Any) -> Path:
        """config/<name>.yaml with SETTINGS and what the test changes in them."""
        path = self.root / "config" / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**SETTINGS, **settings}, sort_keys=False))
        return path

    def write_card(self, key: str = "tiny-study", text: str | None = None, **parts: Any) -> Path:
        """A card with CARD's parts and what the test changes in them; `text` replaces all of it."""
        card = {**copy.deepcopy(CARD), "study": {"key": key, "title": key}, **parts}
        path = self.papers / f"{key}.yaml"
        path.write_text(yaml.safe_dump(card, sort_keys=False) if text is None else text)
        return path

    def plan(self, **config: Any) -> Plan:
        """The plan of this folder."""
        from benchmarks.plan import Plan

        return Plan(config, self.results)

    def written(self) -> list[str]:
        """Every file under results/ that is no index."""
        files = (
            path.relative_to(self.results).as_posix() for path in self.results.rglob("*") if path.is_file()
        )
        return sorted(name for name in files if not name.startswith("index"))

    # ------------------------------------------------------------ jobs, as the workflow would run them

    def prepare(self, plan: Plan) -> None:
        """All data jobs."""
        from benchmarks.jobs import prepare_data

        for name in sorted({chunk.data for chunk in plan.chunks.values()}):
            if not (self.results / "data" / name).is_dir():
                prepare_data(json.loads(plan.data_text(name)), self.results / "data" / name)

    def train(self, plan: Plan, reverse: bool = False) -> dict[str, int]:
        """All train jobs, starts first; returns the exit status of each."""
        from benchmarks.jobs import train_chunk

        self.prepare(plan)
        status: dict[str, int] = {}
        todo = sorted(plan.chunks, reverse=reverse)
        while todo:
            name = next(name for name in todo if not plan.chunks[name].needs & set(todo))
            todo.remove(name)
            spec = json.loads(plan.chunk_text(name))
            if reverse:
                spec["cells"].reverse()
            status[name] = train_chunk(spec, self.results / "chunks" / f"{name}.jsonl")
        return status

    def records(self, plan: Plan) -> list[dict[str, Any]]:
        """The cell records of a plan, as far as they are there."""
        from benchmarks.records import Store, read_json

        found = [read_json(Store(self.results).cell(cell.record)) for cell in plan.cells]
        return [record for record in found if record]

    def record(self, plan: Plan, method: str, **knobs: Any) -> dict[str, Any]:
        """The only record of a method with these knobs."""
        (found,) = [
            record
            for record in self.records(plan)
            if record["key"]["method"] == method and knobs.items() <= record["key"]["knobs"].items()
        ]
        return found


@pytest.fixture
def make_house(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Callable[..., House]:
    """Makes a House; planning looks into the one that was made last."""

    def make(plugins: tuple[Path, ...] = PLUGINS) -> House:
        named = os.pathsep.join(map(str, plugins))
        load_index_once(index_folder(pytestconfig), named)
        house = House(tmp_path_factory.mktemp("house"), index_folder(pytestconfig))
        monkeypatch.setenv("JOULEMARK_PLUGINS", named)
        for module in ("benchmarks.plan", "benchmarks.cards"):
            monkeypatch.setattr(f"{module}.ROOT", house.root)
        return house

    return make


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A House with tests/plugins."""
    return make_house()
