"""`python -m benchmarks`: lists the benchmarks, or runs one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib import import_module

import click
from rich.console import Console
from rich.table import Table

from benchmarks import BENCHMARKS
from benchmarks.measure import Case


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False, type=click.Choice(list(BENCHMARKS)))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per case on stdout.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(name: str | None, as_json: bool, rounds: int) -> None:
    """Runs the benchmark NAME, or lists the benchmarks. A ratio above 1 says that ours is better;
    the spread is the lowest and the highest ratio of the rounds."""
    if name is None:
        for known, sentence in BENCHMARKS.items():
            click.echo(f"{known}: {sentence}")
        return
    # As the service's workers have it, and before anything loads the library that reads it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cases: list[Case] = []
    for case in import_module(f"benchmarks.{name}").run(rounds):
        if as_json:
            print(json.dumps(asdict(case)), flush=True)
        cases.append(case)
    if not as_json:
        Console().print(_table(cases))


def _table(cases: list[Case]) -> Table:
    table = Table("case", "ours", "theirs", "unit", "ratio", "spread", "limit")
    for case in cases:
        ratio = "" if case.ratio is None else f"{case.ratio:g}"
        spread = "" if case.spread is None else f"{case.spread[0]:g} .. {case.spread[1]:g}"
        numbers = f"{case.ours:g}", f"{case.theirs:g}", case.unit, ratio, spread
        table.add_row(case.case, *numbers, case.limit)
    return table


if __name__ == "__main__":
    main()
