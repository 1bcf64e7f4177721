"""How a plugin brings a scheme of URIs or a format of table files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_SUFFIX = re.compile(r"\.[a-z0-9_+-]+")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tables from a place or of a format that the server does not know.

    `schemes` are those of URIs (`mongodb` for `mongodb://…`), which an operator must allow with
    `--allow-scheme`; `suffixes` are endings of files (`.sas7bdat`); both in lower case.

    `read` is given a whole URI, or the path of a file with one of the endings, and returns the
    table; what it raises is shown to the user, so its text should say what would help. Credentials
    come from the server's environment. `version` is given a URI and returns, cheaply, a text that
    changes whenever the data does; without it, data is read each time to see whether it changed.
    """

    read: Callable[[str], pd.DataFrame] = field(repr=False)
    schemes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    version: Callable[[str], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        wrong = [s for s in self.schemes if not _SCHEME.fullmatch(s)]
        wrong += [s for s in self.suffixes if not _SUFFIX.fullmatch(s)]
        if wrong or not self.keys:
            raise ValueError(
                f"a reader needs schemes such as 'mongodb' or suffixes such as '.sas7bdat', in "
                f"lower case; got {wrong or 'none'}"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is found by: `name:` for a scheme, `.name` for a suffix."""
        return (*(f"{scheme}:" for scheme in self.schemes), *self.suffixes)
