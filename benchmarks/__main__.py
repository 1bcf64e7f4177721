"""`python -m benchmarks`: lists the benchmarks, or runs one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib import import_module

import click

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
    for case in import_module(f"benchmarks.{name}").run(rounds):
        click.echo(json.dumps(asdict(case)) if as_json else _described(case))


def _described(case: Case) -> str:
    """The case in two lines."""
    ratio = "no ratio"
    if case.ratio is not None and case.spread is not None:
        ratio = f"ratio {case.ratio:g} ({case.spread[0]:g} to {case.spread[1]:g})"
    sides = f"ours {case.ours:g}, theirs {case.theirs:g} {case.unit}"
    return f"{case.case}\n    {sides}; {ratio}; {case.limit}"


if __name__ == "__main__":
    main()
