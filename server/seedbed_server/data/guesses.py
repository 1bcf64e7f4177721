"""What is concluded from names and values, so that it can be shown and overruled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guess:
    """A conclusion: what it is about, from what it was drawn, and how to say otherwise."""

    what: str
    value: str
    why: str
    overrule: str
