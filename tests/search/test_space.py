"""Search spaces: narrowing, portfolios, and the error texts a user would read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.space import (
    Choices,
    Domain,
    FloatRange,
    IntRange,
    domain_from_dict,
    domain_to_dict,
)
from seedbed_sdk.trainer import Architecture, Blueprint, Trainer
from seedbed_server.search.space import narrow


def _never(blueprint: Blueprint) -> Trainer:
    raise NotImplementedError


def architecture(
    name: str, space: dict[str, Domain], *portfolio: dict[str, object], baseline: bool = False
) -> Architecture:
    return Architecture(name, "", ("tabular",), ("category",), _never, space, portfolio, baseline)


LINEAR = architecture(
    "linear", {"penalty": FloatRange(1e-4, 10, log=True)}, {"penalty": 1.0}, baseline=True
)
TREES = architecture(
    "trees",
    {"learning_rate": FloatRange(0.01, 0.3, log=True), "epochs": IntRange(50, 500)},
    {"learning_rate": 0.1, "epochs": 100},
    {"learning_rate": 0.03, "epochs": 400},
)
NET = architecture(
    "net",
    {
        "learning_rate": FloatRange(1e-4, 0.05, log=True),
        "epochs": IntRange(3, 60),
        "width": Choices((64, 128)),
    },
    {"learning_rate": 0.003, "epochs": 20, "width": 128},
)
ALL = [TREES, NET, LINEAR]


def refused(wanted: dict[str, Domain]) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        narrow(ALL, wanted)
    return caught.value


def test_portfolio_has_baselines_first_then_best_defaults_by_turns() -> None:
    names = [(name, p.get("epochs")) for name, p in narrow(ALL, {}).portfolio()]
    assert names == [("linear", None), ("trees", 100), ("net", 20), ("trees", 400)]


def test_fixed_value_moves_the_defaults_and_drops_who_has_no_such_value() -> None:
    space = narrow(ALL, {"epochs": Choices((5.0,))})
    assert list(space.architectures) == ["net", "linear"]
    portfolio = dict(space.portfolio())
    assert portfolio["net"]["epochs"] == 5
    assert isinstance(portfolio["net"]["epochs"], int)


def test_range_is_cut_to_each_architectures_own() -> None:
    space = narrow(ALL, {"learning_rate": FloatRange(0.02, 0.2)})
    assert space.domains["trees"]["learning_rate"] == FloatRange(0.02, 0.2, log=True)
    assert space.domains["net"]["learning_rate"] == FloatRange(0.02, 0.05, log=True)


def test_unknown_hyperparameter_is_answered_with_the_nearest() -> None:
    error = refused({"learning_rat": Choices((0.1,))})
    assert error.violations[0].field == 'job.search_space["learning_rat"]'
    assert error.violations[0].description == (
        "no such hyperparameter; there are architecture, epochs, learning_rate, penalty, width; "
        "did you mean 'learning_rate'?"
    )


def test_values_that_no_architecture_has_are_refused_with_what_would_do() -> None:
    error = refused({"width": Choices((96,))})
    assert error.message == (
        'job.search_space["width"]: 96 lies outside what may be tried (net: 64, 128)'
    )
    error = refused({"learning_rate": FloatRange(0.1, 5.0)})
    assert "0.1..5 lies outside what may be tried (trees: 0.01..0.3; net: 0.0001..0.05)" in str(
        error
    )


def test_wishes_that_contradict_each_other_are_refused_in_either_order() -> None:
    says = (
        'job.search_space["width"]: contradicts learning_rate = 0.2, which net cannot have; leave '
        "out one of them, or allow other values"
    )
    rate, width = Choices((0.2,)), Choices((64,))
    assert str(refused({"learning_rate": rate, "width": width})) == says
    assert str(refused({"width": width, "learning_rate": rate})) == says


def test_wishes_that_no_architecture_has_all_of_are_refused() -> None:
    wanted: dict[str, Domain] = {
        "architecture": Choices(("trees", "net")),
        "learning_rate": Choices((0.001,)),
        "epochs": Choices((400,)),
    }
    assert str(refused(wanted)) == (
        'job.search_space["epochs"]: no architecture can have all of epochs = 400, '
        "learning_rate = 0.001; leave out one of them, or allow other values"
    )


def test_unknown_architecture_and_everything_else_wrong_come_in_one_error() -> None:
    error = refused({"architecture": Choices(("forest",)), "depth": Choices((1,))})
    assert [v.field for v in error.violations] == [
        'job.search_space["architecture"]',
        'job.search_space["depth"]',
    ]
    assert "'forest' cannot be used for this data; possible are trees, net, linear" in str(error)


def test_size_counts_discrete_spaces_and_is_infinite_else() -> None:
    assert math.isinf(narrow(ALL, {}).size())
    fixed = narrow([NET], {"learning_rate": Choices((0.01,)), "epochs": IntRange(3, 5)})
    assert fixed.size() == 6


numbers = st.floats(1e-6, 1e6, allow_nan=False)


@given(numbers, numbers, st.booleans())
def test_domains_survive_the_way_through_json(a: float, b: float, log: bool) -> None:
    for domain in (
        FloatRange(min(a, b), max(a, b), log),
        IntRange(int(min(a, b)), int(max(a, b)) + 1, log),
        Choices((a, "x", None, True)),
    ):
        assert domain_from_dict(domain_to_dict(domain)) == domain


@given(low=st.floats(0.01, 0.3), high=st.floats(0.01, 0.3))
def test_narrowed_space_never_leaves_the_architectures_own(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    space = narrow(ALL, {"learning_rate": FloatRange(low, high)})
    for name, domains in space.domains.items():
        own = space.architectures[name].space
        domain = domains.get("learning_rate")
        if isinstance(domain, FloatRange):
            assert domain.low in own["learning_rate"] and domain.high in own["learning_rate"]
            assert low <= domain.low <= domain.high <= high
    for name, parameters in space.portfolio():
        assert all(value in space.domains[name][key] for key, value in parameters.items())
