"""A toy repository: what its tests would notice is killed, and what they would not survives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from mutation.areas import AREAS, Area, files
from mutation.nearest import Map, digests
from mutation.sample import Mutant, mutants, sample

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent

CODE = """
    import sys
    from functools import cache

    OLD = 6

    def adult(age):
        return age >= 18

    def fee(age):
        return 1 if age > OLD else 2

    @cache
    def table():
        return {"a": 1, "b": 5}

    def price(name):
        return table()[name]

    def never():
        return sys.maxsize - 1

    def double(number):
        return number * 2

    def wait(seconds):
        while seconds > 0:
            seconds -= 1
"""
TESTS = """
    import subprocess, sys
    import pytest
    from toy import code

    def test_adult():
        assert code.adult(18) and not code.adult(17)

    @pytest.mark.parametrize(("name", "price"), [("a", 1), ("b", 5)])
    def test_price(name, price):
        assert code.price(name) == price

    def test_in_another_process():
        assert code.double(0) == 0
        said = subprocess.check_output([sys.executable, "-c", "from toy import code; print(code.double(2))"])
        assert said == b"4\\n"

    def test_wait():
        code.wait(2)

    def test_fails_anyway():
        assert code.adult(18) is None
"""
MORE = """
    from toy import code

    def test_fee(three):
        assert code.fee(three) == 2 and code.fee(9) == 1
"""
CONFTEST = """
    import pytest

    @pytest.fixture
    def three():
        return 3
"""
FILES = {
    "toy/__init__.py": "",
    "toy/code.py": CODE,
    "tests/test_code.py": TESTS,
    "tests/more/conftest.py": CONFTEST,
    "tests/more/test_more.py": MORE,
    "pytest.ini": "[pytest]",
}
RUN = """
    import json, sys
    from pathlib import Path
    from mutation import report, run, sample
    from mutation.areas import Area
    run.SPARE = 1.0
    root = Path(sys.argv[1])
    areas = {"toy": Area(("toy/code.py",), ("tests",))}
    every = [m for m in sample.mutants(areas, root) if not sys.argv[2:] or m.edit.operator in sys.argv[2:]]
    run = run.Run(areas, 2, lambda what: None, root)
    results = run.results(sample.sample(every, 1, 100))
    print(json.dumps(report.data(results, root, left_out=sorted(run.left_out))))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def run(toy: Path, *operators: str) -> dict[str, str]:
    """The outcome of each change, by the line it makes."""
    command = [sys.executable, "-c", dedent(RUN), str(toy), *operators]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    told = json.loads(subprocess.check_output(command, env=environment, cwd=toy))
    assert told["left_out"] == ["tests/test_code.py::test_fails_anyway"]
    return {each["change"].rpartition("\n+")[2].strip(): each["outcome"] for each in told["mutants"]}


@pytest.mark.proof
def test_a_noticed_mutant_is_killed_and_another_survives(toy: Path) -> None:
    assert run(toy, "boundary", "constant") == {
        "OLD = 7": "survived",
        "return age > 18": "killed",
        "return age >= 19": "killed",
        "return 1 if age >= OLD else 2": "survived",
        "return 2 if age > OLD else 2": "killed",
        "return 1 if age > OLD else 3": "killed",
        'return {"a": 2, "b": 5}': "killed",
        'return {"a": 1, "b": 6}': "killed",
        "return sys.maxsize - 2": "not covered",
        "return number * 3": "killed",
        "while seconds >= 0:": "survived",
        "while seconds > 1:": "survived",
        "seconds -= 2": "survived",
    }


@pytest.mark.proof
def test_a_mutant_that_does_not_end_is_killed_by_time(toy: Path) -> None:
    assert run(toy, "arithmetic")["seconds += 1"] == "timed out"


def test_the_sample_depends_on_seed_and_source_alone(toy: Path) -> None:
    every = mutants({"toy": Area(("toy/*.py",), ("tests",))}, toy)
    few, more = sample(every, 1, 5), sample(every[::-1], 1, 9)
    assert [each.id for each in few] == [each.id for each in more[:5]]
    assert [each.id for each in few] != [each.id for each in sample(every, 2, 5)]

    def numbered(some: list[Mutant]) -> set[str]:
        return {each.id for each in some}

    code = toy / "toy" / "code.py"
    code.write_text("\n\n" + code.read_text())
    assert numbered(mutants({"toy": Area(("toy/*.py",), ("tests",))}, toy)) == numbered(every)


def test_a_file_with_tests_is_measured_again_when_it_changes_and_all_are_when_other_code_does(
    toy: Path,
) -> None:
    def seen() -> tuple[str, dict[str, str]]:
        return digests(toy, ("tests",), [toy / "toy" / "code.py"])

    code, tests = seen()
    assert set(tests) == {"tests/test_code.py", "tests/more/test_more.py"}
    (toy / "tests" / "test_code.py").write_text("")
    again, now = seen()
    assert again == code
    assert {file for file in tests if tests[file] != now[file]} == {"tests/test_code.py"}
    (toy / "tests" / "more" / "conftest.py").write_text("")
    assert seen()[0] != code


def test_of_a_kept_map_only_files_that_are_still_the_same_and_not_known_better_are_taken() -> None:
    kept = {
        "files": {"tests/test_a.py": "1", "tests/test_b.py": "1", "tests/test_c.py": "1"},
        "seconds": {f"tests/test_{name}.py::test": 1.0 for name in "abc"},
        "runs": {f"tests/test_{name}.py::test": {"code.py": [1]} for name in "abc"},
        "failing": {},
        "at_import": {"code.py": [1, 3]},
        "modules": ["json"],
    }
    found = Map(at_import={"code.py": [2]}, modules=["csv"])
    now = {"tests/test_a.py": "1", "tests/test_b.py": "2", "tests/test_c.py": "1"}
    assert found.take(kept, now, {"tests/test_c.py"}) == {"tests/test_a.py"}
    assert set(found.seconds) == set(found.runs) == {"tests/test_a.py::test"}
    assert (found.at_import, found.modules) == ({"code.py": [1, 2, 3]}, ["csv", "json"])
    assert found.take(kept, {"tests/test_a.py": "3"}, set()) == set()


def test_a_glob_that_finds_nothing_is_an_error(toy: Path) -> None:
    with pytest.raises(LookupError, match="finds no file"):
        files(Area(("toy/gone*.py",), ("tests",)), toy)


@pytest.mark.parametrize("area", AREAS)
def test_every_area_of_the_table_is_there(area: str) -> None:
    assert files(AREAS[area])


@pytest.mark.proof
@pytest.mark.timeout(4 * 3600)
def test_nearly_all_mutants_are_killed() -> None:
    size = ["--only", "store batch", "--count", "12"] if os.environ.get("PROOF_SIZE") == "ci" else []
    floor = "0.5" if size else "0.85"
    ended = subprocess.run(
        [sys.executable, "-m", "mutation", *size, "--floor", floor],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
