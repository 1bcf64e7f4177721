"""The values a hyperparameter may take, as Python values and as people type them."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.errors import invalid

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Real numbers from `low` to `high`, both included; `log` samples the logarithm uniformly."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included; `log` samples the logarithm uniformly."""

    low: int
    high: int
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True, slots=True)
class Choices:
    """One of a few values; a single value fixes the hyperparameter."""

    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Domain = FloatRange | IntRange | Choices

# A positive range this wide is one of magnitudes, such as a learning rate.
_LOG_RATIO = 50


def parse_scalar(text: str) -> Scalar:
    """`true`, `false`, `null`, a whole number, a number, or else the text itself."""
    constants: dict[str, Scalar] = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_domain(text: str, name: str = "") -> Domain:
    """`1e-4..1e-2` (a range), `linear,lightgbm` (choices) or `5` (fixed).

    A range of whole numbers is an IntRange. A range of real numbers above zero whose ends are a
    factor of 50 or more apart is sampled on a logarithmic scale. Raises InvalidArgument naming
    `search_space[name]`.
    """
    field = f"search_space[{name!r}]"
    text = text.strip()
    if ".." in text:
        low_text, _, high_text = (part.strip() for part in text.partition(".."))
        low, high = parse_scalar(low_text), parse_scalar(high_text)
        if not _is_number(low) or not _is_number(high):
            raise invalid(field, f"a range is LOW..HIGH, such as 1e-4..1e-2, got {text!r}")
        return _range(low, high, field)
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise invalid(
            field,
            f"must be a range such as 1e-4..1e-2, choices such as a,b or one value, got {text!r}",
        )
    return Choices(tuple(parse_scalar(part) for part in parts))


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _range(low: Scalar, high: Scalar, field: str) -> Domain:
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low > high:
        raise invalid(field, f"the low end must not be above the high end, got {low}..{high}")
    if isinstance(low, int) and isinstance(high, int):
        return IntRange(low, high)
    return FloatRange(float(low), float(high), log=low > 0 and high / low >= _LOG_RATIO)


def as_domain(value: object, name: str) -> Domain:
    """What `train(search_space=…)` takes: a domain, text as above, a list of choices, a value."""
    match value:
        case FloatRange() | IntRange() | Choices():
            return value
        case str():
            return parse_domain(value, name)
        case list() | tuple() | set() | frozenset():
            return Choices(tuple(value))
        case bool() | int() | float() | None:
            return Choices((value,))
        case _:
            raise invalid(
                f"search_space[{name!r}]",
                f"must be a domain, text, a list or a value, got {type(value).__name__}",
            )
