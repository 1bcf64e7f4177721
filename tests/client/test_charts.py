"""Curves and bars made of characters."""

from __future__ import annotations

from seedbed.cli.charts import bar, steps


def test_a_bar_is_as_long_as_its_share() -> None:
    assert [bar(share, 4) for share in (0.0, 0.5, 1.0, 7.0, -1.0)] == ["", "██", "████", "████", ""]
    assert bar(0.625, 4) == "██▌"
    assert bar(1e-9, 4) == "▏"


def test_a_curve_rises_at_its_times() -> None:
    lines = steps([(2.0, 0.5), (5.0, 0.7), (8.0, 0.9)], 10.0, 10, 5)
    assert lines == [
        "       ╭──",
        "       │  ",
        "    ╭──╯  ",
        "    │     ",
        " ───╯     ",
    ]


def test_a_loss_falls() -> None:
    assert steps([(0.0, 3.0), (5.0, 1.0)], 10.0, 10, 2) == ["────╮     ", "    ╰─────"]


def test_the_last_change_is_seen_and_a_level_curve_is_one_line() -> None:
    assert steps([(0.0, 1.0), (10.0, 2.0)], 10.0, 5, 2)[0] == "    ╭"
    assert steps([(0.1, 1.0), (0.2, 2.0)], 10.0, 5, 2) == ["╭────", "╯    "]
    assert steps([(4.0, 1.0)], 10.0, 5, 1) == [" ────"]
    assert steps([(0.0, 1.0)], 0.0, 3, 1) == ["───"]
