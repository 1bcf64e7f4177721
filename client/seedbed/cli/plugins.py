"""`seedbed plugin new`."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

import click

from seedbed.cli.output import say, say_json
from seedbed.cli.session import Session, json_option, pass_session
from seedbed.errors import invalid

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "module.py.in": "{module}/__init__.py",
    "network.py.in": "{module}/network.py",
    "test_contract.py.in": "tests/test_contract.py",
}


@click.group(epilog="Example: seedbed plugin new churn")
def plugin() -> None:
    """Write plugins."""


@plugin.command(epilog="Example: seedbed plugin new churn --folder ~/src")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to put the package; by default here.",
)
@json_option
@pass_session
def new(session: Session, name: str, folder: Path) -> None:
    """Write a package that brings a task, with its tests: a place to start from.

    NAME is the task's, such as `churn` or `plant-disease`.
    """
    package = write_plugin(name, folder)
    files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.*"))
    if session.json:
        say_json({"package": str(package), "files": files})
        return
    say(f"wrote {package} with {', '.join(files)}")
    say(f"next: pip install --editable '{package}[test]' && pytest {package}")


def write_plugin(name: str, folder: Path) -> Path:
    """Writes the package `seedbed-NAME` and returns its folder.

    Raises InvalidArgument where the name cannot be a task's, or the folder is there already.
    """
    task = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(task):
        raise invalid(
            "NAME", f"must be lower-case words with - between them, such as churn, got {name!r}"
        )
    package = folder / f"seedbed-{task.replace('_', '-')}"
    if package.exists():
        raise invalid("NAME", f"{package} is there already; choose another name or folder")
    module = f"seedbed_{task}"
    words = task.split("_")
    values = {
        "name": task,
        "package": package.name,
        "module": module,
        "title": " ".join(words).capitalize(),
        "class_name": "".join(word.capitalize() for word in words) + "Task",
    }
    template = resources.files("seedbed.cli") / "plugin_template"
    for source, target in _FILES.items():
        path = package / target.format(module=module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((template / source).read_text()).substitute(values))
    return package
