"""Resource names and filters: what is understood, and how what is not is answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import names
from seedbed_server.api.requests import job_filter
from seedbed_server.store import JobFilter

IDS = st.from_regex(r"[a-z][a-z0-9-]{3,62}", fullmatch=True)
PROJECTS = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)


@given(PROJECTS, IDS)
def test_printed_names_are_parsed_again(project: str, resource: str) -> None:
    assert names.parse("jobs", names.job(project, resource), "name") == (project, resource)
    assert names.parse("models", names.model(project, resource), "name") == (project, resource)
    assert names.parse("datasets", resource, "name") == ("default", resource)
    assert names.parse("datasets", f"datasets/{resource}", "name") == ("default", resource)


@given(st.text())
def test_any_other_text_is_refused_by_its_field(text: str) -> None:
    try:
        project, resource = names.parse("jobs", text, "the.field")
    except InvalidArgument as error:
        assert [v.field for v in error.violations] == ["the.field"]
    else:
        assert text in (names.job(project, resource), f"jobs/{resource}", resource)


@pytest.mark.parametrize(
    "name",
    ["", "a", "abc", "Abcd", "-abcd", "a" * 64, "../../etc", "jobs/", "projects/p/jobs/", "a/b/c",
     "projects//jobs/abcd", "projects/p/jobs/abcd/trials/1", "abcd\n", "projects/p/models/abcd"],
)  # fmt: skip
def test_names_that_will_not_do(name: str) -> None:
    with pytest.raises(InvalidArgument):
        names.parse("jobs", name, "name")


@pytest.mark.parametrize("parent", ["p", "projects/", "projects/P", "projects/a/b", "/"])
def test_parents_that_will_not_do(parent: str) -> None:
    with pytest.raises(InvalidArgument, match="may be empty"):
        names.parse_parent(parent)


def test_filters_take_names_in_every_form() -> None:
    assert job_filter("") == JobFilter()
    assert job_filter("state=FAILED") == JobFilter(state="FAILED")
    wanted = JobFilter("FAILED", "tabular", "abcd")
    for text in (
        'state = "FAILED" AND task = tabular AND dataset = abcd',
        "dataset = projects/default/datasets/abcd  AND  task=tasks/tabular AND state = 'FAILED'",
    ):
        assert job_filter(text) == wanted


@given(st.text())
def test_any_text_is_a_filter_or_refused_as_one(text: str) -> None:
    try:
        job_filter(text)
    except InvalidArgument as error:
        assert [v.field for v in error.violations] == ["filter"]
