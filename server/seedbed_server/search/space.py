"""The search space of a job: the architectures' own spaces, narrowed by the user."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange, Parameters
from seedbed_sdk.trainer import Architecture

if TYPE_CHECKING:
    import optuna

ARCHITECTURE = "architecture"
EPOCHS = "epochs"


@dataclass(frozen=True)
class SearchSpace:
    """Which architectures may be tried, and the values of each one's hyperparameters."""

    architectures: Mapping[str, Architecture]
    domains: Mapping[str, Mapping[str, Domain]]

    def suggest(self, trial: optuna.Trial) -> tuple[str, Parameters]:
        """Asks Optuna for an architecture and its hyperparameters.

        Hyperparameters of different architectures are different parameters to the sampler, since
        the learning rate that suits one says nothing about another's.
        """
        name = trial.suggest_categorical(ARCHITECTURE, list(self.architectures))
        return name, {
            key: _suggest(trial, f"{name}.{key}", domain)
            for key, domain in self.domains[name].items()
        }

    def portfolio(self) -> list[tuple[str, Parameters]]:
        """Settings to try first: every baseline, then each architecture's best default, then each
        one's second best, and so on; moved into the narrowed space where they are not."""
        rounds = itertools.zip_longest(
            *([(a, dict(p)) for p in a.portfolio] for a in self.architectures.values())
        )
        entries = [entry for tried in rounds for entry in tried if entry is not None]
        entries.sort(key=lambda entry: not entry[0].baseline)
        found: list[tuple[str, Parameters]] = []
        for architecture, parameters in entries:
            inside = self.settings(architecture.name, parameters)
            if (architecture.name, inside) not in found:
                found.append((architecture.name, inside))
        return found

    def settings(self, architecture: str, given: Mapping[str, object]) -> Parameters:
        """An architecture's hyperparameters as they are given, and its default where they are not,
        moved into the narrowed space."""
        default = next(iter(self.architectures[architecture].portfolio), {})
        return {
            key: _nearest(domain, given.get(key, default.get(key)))
            for key, domain in self.domains[architecture].items()
        }

    def distributions(self, architecture: str) -> dict[str, optuna.distributions.BaseDistribution]:
        """Optuna's form of an architecture's space, under the names that `suggest` uses."""
        import optuna

        own = {
            f"{architecture}.{k}": distribution(d) for k, d in self.domains[architecture].items()
        }
        names = optuna.distributions.CategoricalDistribution(list(self.architectures))
        return {ARCHITECTURE: names, **own}

    def shape_of(self, architecture: str, parameters: Parameters) -> Parameters:
        """Those that the shape of a network, what it is trained on, or how long, may
        depend on: all but real numbers."""
        own = self.architectures[architecture].space
        return {k: v for k, v in parameters.items() if not isinstance(own[k], FloatRange)}

    def size(self) -> float:
        """How many different settings there are; infinite where a range is continuous."""
        return sum(map(self.size_of, self.domains))

    def size_of(self, architecture: str) -> float:
        """How many different settings an architecture has."""
        return math.prod(_size(domain) for domain in self.domains[architecture].values())


def narrow(architectures: Sequence[Architecture], wanted: Mapping[str, Domain]) -> SearchSpace:
    """The architectures' spaces, narrowed by what the user wants, keyed by hyperparameter.

    An architecture that has no value left for a hyperparameter drops out. Raises InvalidArgument
    for an unknown name, for values that no architecture has, and for wishes of which one drops all
    architectures that another is for.
    """
    violations: list[FieldViolation] = []
    chosen = {a.name: a for a in architectures}
    if ARCHITECTURE in wanted:
        chosen, violation = _choose(chosen, wanted[ARCHITECTURE])
        if violation:
            violations.append(violation)
    domains: dict[str, dict[str, Domain]] = {name: dict(a.space) for name, a in chosen.items()}
    dropped: dict[str, str] = {}
    for key, domain in wanted.items():
        if key == ARCHITECTURE:
            continue
        having = {name: a.space[key] for name, a in chosen.items() if key in a.space}
        fits = {name: _intersect(own, domain) for name, own in having.items()}
        if not having:
            violations.append(_unknown_key(key, domains))
        elif not any(fits.values()) or _exceeds(domain, list(having.values())):
            allowed = "; ".join(f"{name}: {own}" for name, own in having.items())
            violations.append(
                FieldViolation(_path(key), f"{domain} lies outside what may be tried ({allowed})")
            )
        else:
            for name, inside in fits.items():
                if inside is None:
                    dropped.setdefault(name, key)
                    domains.pop(name, None)
                elif name in domains:
                    domains[name][key] = inside
    violations += _contradictions(chosen, wanted, dropped) if not violations else []
    if violations:
        raise InvalidArgument.of(violations, reason="IMPOSSIBLE_SEARCH_SPACE")
    return SearchSpace({name: chosen[name] for name in domains}, domains)


def _choose(
    known: dict[str, Architecture], domain: Domain
) -> tuple[dict[str, Architecture], FieldViolation | None]:
    if not isinstance(domain, Choices):
        return known, FieldViolation(
            _path(ARCHITECTURE), f"must be names out of {', '.join(known)}, got the range {domain}"
        )
    unknown = [str(v) for v in domain.values if v not in known]
    if unknown or not domain.values:
        given = ", ".join(map(repr, unknown)) or "none"
        return known, FieldViolation(
            _path(ARCHITECTURE),
            f"{given} cannot be used for this data; possible are {', '.join(known)}",
        )
    return {str(v): known[str(v)] for v in domain.values}, None


def _contradictions(
    chosen: Mapping[str, Architecture], wanted: Mapping[str, Domain], dropped: Mapping[str, str]
) -> list[FieldViolation]:
    """Wishes for architectures that all dropped out; `dropped` says by which other wish."""
    found = []
    for key in wanted:
        having = [name for name, architecture in chosen.items() if key in architecture.space]
        if having and all(name in dropped and dropped[name] != key for name in having):
            others = sorted({dropped[name] for name in having})
            reasons = " and ".join(f"{name} = {wanted[name]}" for name in others)
            found.append(
                FieldViolation(
                    _path(key),
                    f"contradicts {reasons}, which {', '.join(having)} cannot have; leave out one "
                    "of them, or allow other values",
                )
            )
    if not found and len(dropped) == len(chosen):
        keys = sorted(set(dropped.values()))
        together = ", ".join(f"{key} = {wanted[key]}" for key in keys)
        found.append(
            FieldViolation(
                _path(keys[0]),
                f"no architecture can have all of {together}; leave out one of them, or allow "
                "other values",
            )
        )
    return found


def _unknown_key(key: str, domains: Mapping[str, Mapping[str, Domain]]) -> FieldViolation:
    names = sorted({name for space in domains.values() for name in space} | {ARCHITECTURE})
    close = difflib.get_close_matches(key, names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return FieldViolation(_path(key), f"no such hyperparameter; there are {', '.join(names)}{hint}")


def _path(key: str) -> str:
    return f'job.search_space["{key}"]'


def _intersect(own: Domain, wanted: Domain) -> Domain | None:
    if isinstance(wanted, Choices):
        inside = tuple(_like(own, value) for value in wanted.values if value in own)
        return Choices(inside) if inside else None
    if isinstance(own, Choices):
        inside = tuple(value for value in own.values if value in wanted)
        return Choices(inside) if inside else None
    low, high = max(own.low, wanted.low), min(own.high, wanted.high)
    if low > high:
        return None
    if isinstance(own, IntRange):
        first, last = math.ceil(low), math.floor(high)
        return IntRange(first, last, own.log) if first <= last else None
    return FloatRange(low, high, own.log)


def _exceeds(wanted: Domain, owns: Sequence[Domain]) -> bool:
    """Whether part of what is wanted lies outside every architecture's space."""
    if isinstance(wanted, Choices):
        return any(all(value not in own for own in owns) for value in wanted.values)
    return any(
        all(end not in own for own in owns) for end in (wanted.low, wanted.high)
    ) and not any(isinstance(own, Choices) for own in owns)


def _like(own: Domain, value: Any) -> Any:
    """Numbers arrive as floats; an architecture gets the type it declared."""
    if isinstance(own, IntRange):
        return int(value)
    if isinstance(own, FloatRange):
        return float(value)
    return own.values[own.values.index(value)]


def _nearest(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Choices):
        return value if value in domain.values else domain.values[0]
    if value is None:
        middle = (
            math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
        )
        value = round(middle) if isinstance(domain, IntRange) else middle
    return min(max(value, domain.low), domain.high)


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    if isinstance(domain, Choices):
        return trial.suggest_categorical(name, list(domain.values))
    if isinstance(domain, IntRange):
        return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    """Optuna's form of a domain."""
    import optuna

    if isinstance(domain, Choices):
        return optuna.distributions.CategoricalDistribution(list(domain.values))
    if isinstance(domain, IntRange):
        return optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)


def _size(domain: Domain) -> float:
    if isinstance(domain, Choices):
        return len(domain.values)
    if isinstance(domain, IntRange):
        return domain.high - domain.low + 1
    return 1 if domain.low == domain.high else math.inf
