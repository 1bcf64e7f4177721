"""Writes the reference of hooks in docs/plugins.md from the hookspecs, between its two markers.

`python tools/generate_hook_reference.py --check` only says whether it is current.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from seedbed_sdk import hookspecs

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
BEGIN = "<!-- hooks: written by tools/generate_hook_reference.py -->\n"
_MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
END = "<!-- end of hooks -->\n"


def reference() -> str:
    """A section for each hook in the order of the source: its signature and its docstring."""
    hooks = [
        function
        for _, function in inspect.getmembers(hookspecs, inspect.isfunction)
        if hasattr(function, f"{hookspecs.PROJECT}_spec")
    ]
    hooks.sort(key=lambda function: function.__code__.co_firstlineno)
    sections = []
    for hook in hooks:
        parameters = ", ".join(
            f"{name}: {_MODULES.sub('', str(parameter.annotation))}"
            for name, parameter in inspect.signature(hook, eval_str=False).parameters.items()
        )
        sections.append(f"### `{hook.__name__}`\n\n```python\n")
        sections.append(f"def {hook.__name__}({parameters}) -> None\n```\n\n")
        sections.append(f"{inspect.getdoc(hook)}\n\n")
    return "".join(sections)


def rendered(page: str) -> str:
    """The page with the reference as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}{END}{after}"


def main() -> int:
    page = PAGE.read_text()
    wanted = rendered(page)
    if "--check" in sys.argv:
        return int(page != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
