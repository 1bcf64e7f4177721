"""Resource names and filters: what is understood, and how what is not is answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import names
from seedbed_server.api.access import Caller, set_caller
from seedbed_server.api.requests import job_filter
from seedbed_server.errors import PermissionDenied
from seedbed_server.store import JobFilter
from seedbed_server.tokens import Role

IDS = st.from_regex(r"[a-z][a-z0-9-]{3,62}", fullmatch=True)
PROJECTS = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)


@pytest.fixture(autouse=True)
def anybody() -> None:
    """The caller of a server without tokens."""
    set_caller(Caller("unix:"))


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


def test_names_without_a_project_are_the_callers_and_others_projects_are_refused() -> None:
    set_caller(Caller("unix:", "t1", Role.VIEWER, ("mine", "ours")))
    assert names.parse("jobs", "abcd", "name") == ("mine", "abcd")
    assert names.parse("jobs", "abcd", "name", "ours") == ("ours", "abcd")
    assert names.parse_parent("") == "mine"
    assert names.parse_parent("projects/ours") == "ours"
    for parse in (
        lambda: names.parse("jobs", "projects/theirs/jobs/abcd", "name"),
        lambda: names.parse_parent("projects/theirs", "name"),
    ):
        with pytest.raises(PermissionDenied) as caught:
            parse()
        assert caught.value.message == (
            "name: token 't1' is not for project 'theirs'; it is for mine, ours, or ask for a "
            "token for 'theirs'"
        )


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
