"""The `seedbed` command: the client for people at a terminal, built with click and rich.

Results go to stdout, progress and notes to stderr, and the exit code tells success.
"""

from __future__ import annotations

import os
import sys

import click

import seedbed
from seedbed.cli.administration import audit, token
from seedbed.cli.data import dataset, datasets, inspect, tasks
from seedbed.cli.doctor import doctor
from seedbed.cli.insights import insights
from seedbed.cli.jobs import job, jobs
from seedbed.cli.models import model, models
from seedbed.cli.output import error_json, note, say_json, show_error
from seedbed.cli.plan import plan
from seedbed.cli.plugins import plugin
from seedbed.cli.predict import predict
from seedbed.cli.serve import serve
from seedbed.cli.session import Session, connection_options, security_options
from seedbed.cli.train import train

INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: seedbed train --task tabular --data sample://breast_cancer --budget 20s",
)
@connection_options
@security_options
@click.version_option(seedbed.__version__, prog_name="seedbed")
def cli() -> None:
    """AutoML as a service: data and a task in, the best model out, serving."""


COMMANDS = (
    serve,
    tasks,
    inspect,
    train,
    plan,
    jobs,
    job,
    models,
    model,
    datasets,
    dataset,
    predict,
    plugin,
    token,
    audit,
    doctor,
)
for command in COMMANDS:
    cli.add_command(command)
job.add_command(insights)


def run(arguments: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code: 0, 1, 2 for usage, 130 after Ctrl-C."""
    session = Session()
    try:
        result = cli.main(arguments, prog_name="seedbed", obj=session, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except seedbed.SeedbedError as error:
        return _fail(session, error)
    except (click.Abort, KeyboardInterrupt):
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        return _fail(session, seedbed.SeedbedError(what, "UNKNOWN", "OS_ERROR"))


def _fail(session: Session, error: seedbed.SeedbedError) -> int:
    show_error(error)
    if session.json:
        say_json({"error": error_json(error)})
    return 1


def main() -> None:
    """The entry point of the `seedbed` script."""
    # gRPC's own log lines would break the display; what they tell comes back as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(run())
