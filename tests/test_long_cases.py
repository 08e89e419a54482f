"""The list of long cases names tests that there are, and is made as it says."""

from pathlib import Path

import pytest

from tests import long_cases

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "test", sorted({long_cases.function(case) for case in long_cases.read()})
)
def test_listed_cases_are_of_tests_that_exist(test):
    path, name = test.split("::", 1)
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_the_first_case_of_each_test_is_listed_where_it_is_very_long():
    lines = [
        "[gw0] [  1%] PASSED tests/a/test_a.py::test_it[one] ",
        "[gw1] [  2%] PASSED tests/a/test_a.py::test_it[two words] ",
        "[gw1] [  3%] PASSED tests/a/test_a.py::test_it[three] ",
        "[gw1] [  4%] PASSED tests/a/test_a.py::test_alone ",
        "9.00s call     tests/a/test_a.py::test_alone",
        "3.00s call     tests/a/test_a.py::test_it[one]",
        "1.00s setup    tests/a/test_a.py::test_it[two words]",
        "1.00s call     tests/a/test_a.py::test_it[two words]",
        "0.10s call     tests/a/test_a.py::test_it[three]",
    ]
    found = long_cases.select(long_cases.timed(lines))
    assert found == [
        "tests/a/test_a.py::test_alone",
        "tests/a/test_a.py::test_it[two words]",
    ]
