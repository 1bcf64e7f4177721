"""Which values or colours of a mask are which class, and which are void."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.file_bytes import Unusable
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.segmentation_metrics import VOID

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 255
VOID_NAMES = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled"})
CHANNELS = ("r", "g", "b")
VOID_OPTION = "job.options.void"
# Twelve hues that are told apart by the colour-blind too (Tol's and Okabe and Ito's), then turns of
# the golden angle.
PALETTE = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (86, 180, 233),
    (240, 228, 66), (136, 34, 85), (17, 119, 51), (153, 153, 51), (51, 34, 136), (170, 68, 153),
)  # fmt: skip
GOLDEN_ANGLE = 0.381966


@dataclass
class MaskClasses:
    """The classes of masks, in the order of their numbers.

    `colour` says whether masks hold colours rather than grey values; None until the training masks
    told. `values` are the grey value or the colour 0xRRGGBB of each class; void pixels have one of
    `void_values`. `void_asked` is what the user named as void, by name or value.
    """

    colour: bool | None = None
    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    void_values: tuple[int, ...] = ()
    void_asked: tuple[int | str, ...] = ()
    from_legend: bool = False

    @classmethod
    def of_legend(cls, legend: pd.DataFrame, void: Sequence[int | str]) -> MaskClasses:
        """From a table with the columns name, r, g and b, or name and value. A row called void,
        ignore or unlabelled is void.

        Raises InvalidArgument where the table lacks columns, or a number is no whole one in range.
        """
        columns = {str(name).strip().lower(): name for name in legend.columns}
        colour = all(channel in columns for channel in CHANNELS)
        if "name" not in columns or not (colour or "value" in columns):
            raise InvalidArgument(
                "job.dataset",
                f"the legend has the columns {', '.join(map(str, legend.columns))}; it needs name, "
                "r, g and b, or name and value",
                reason="BAD_LEGEND",
            )
        names = [str(name).strip() for name in legend[columns["name"]]]
        parts = CHANNELS if colour else ("value",)
        numbers = np.stack([_whole(legend[columns[part]], part) for part in parts], axis=1)
        values = (numbers @ (1 << np.array([16, 8, 0])) if colour else numbers[:, 0]).tolist()
        if len(set(values)) < len(values) or len(set(names)) < len(names):
            raise InvalidArgument(
                "job.dataset", "the legend has a name or a value twice", reason="BAD_LEGEND"
            )
        classes = cls(colour, tuple(names), tuple(values), (), tuple(void), from_legend=True)
        named = [v for n, v in zip(names, values, strict=True) if n.lower() in VOID_NAMES]
        classes._set_void(named if colour or VOID in values else [*named, VOID])
        return classes

    def learn(self, counts: Mapping[int, int]) -> None:
        """Settles the classes by the values of the training masks and how many pixels have them.

        Raises InvalidArgument where there are too many values or fewer than two classes.
        """
        if not self.from_legend:
            found = sorted(counts)
            # Masks of 0 and 255 alone are black and white.
            usual = [] if self.colour or set(found) == {0, VOID} else [VOID]
            if len(found) > MAX_CLASSES + len(usual) + len(self.void_asked):
                raise InvalidArgument(
                    "job.target",
                    f"the masks have {len(found)} different values; at most {MAX_CLASSES} classes "
                    "are possible; masks must be stored without loss, such as in PNG",
                    reason="TARGET_TOO_MANY_CLASSES",
                )
            self.names = tuple(self._spelled(value) for value in found)
            self.values = tuple(found)
            self._set_void(usual)
        if len(self.values) < 2:
            raise InvalidArgument(
                "job.target",
                f"the masks have the single class {', '.join(self.names) or 'void'}; at least two "
                "classes are needed",
                reason="TARGET_SINGLE_CLASS",
            )

    def numbers(self, values: Array) -> Array:
        """Class numbers, uint8, for values of the same shape; 255 where void.

        Raises Unusable for a value that is neither a class nor void.
        """
        known = np.array([*self.values, *self.void_values], dtype=np.int64)
        codes = np.array([*range(len(self.values)), *[VOID] * len(self.void_values)])
        order = np.argsort(known)
        known, codes = known[order], codes[order].astype(np.uint8)
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
        wrong = known[places] != values
        if wrong.any():
            where = "in the legend" if self.from_legend else "in the training masks"
            raise Unusable(f"the value {self._spelled(int(values[wrong][0]))} is not {where}")
        return codes[places]

    def colours(self) -> Array:
        """What the classes are drawn in: uint8 [classes, 3]."""
        if self.colour:
            values = np.array(self.values)
            return np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.uint8)
        return np.array([_drawn(i) for i in range(len(self.values))], dtype=np.uint8)

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "colour": bool(self.colour),
            "names": list(self.names),
            "values": list(self.values),
            "void_values": list(self.void_values),
            "from_legend": self.from_legend,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MaskClasses:
        """The classes that `state` was called on."""
        return cls(
            state["colour"],
            tuple(state["names"]),
            tuple(state["values"]),
            tuple(state["void_values"]),
            from_legend=state["from_legend"],
        )

    def _set_void(self, usual: Sequence[int]) -> None:
        """Takes the usual void values and those asked for out of the classes."""
        void = {*usual, *(self._asked(wanted) for wanted in self.void_asked)}
        kept = [(n, v) for n, v in zip(self.names, self.values, strict=True) if v not in void]
        self.names = tuple(name for name, _ in kept)
        self.values = tuple(value for _, value in kept)
        self.void_values = tuple(sorted(void))

    def _asked(self, wanted: int | str) -> int:
        text = str(wanted).strip()
        by_name = {n.lower(): v for n, v in zip(self.names, self.values, strict=True)}
        if text.lower() in by_name:
            return by_name[text.lower()]
        if text.isdigit():
            return int(text)
        if text.startswith("#") and len(text) == 7 and _is_hex(text[1:]):
            return int(text[1:], 16)
        close = difflib.get_close_matches(text, self.names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidArgument(
            VOID_OPTION,
            f"no class {text!r}; there are {', '.join(self.names[:20])}{hint}",
            reason="UNKNOWN_CLASS",
        )

    def _spelled(self, value: int) -> str:
        return f"#{value:06x}" if self.colour else str(value)


def _whole(column: pd.Series, name: str) -> Array:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    limit = 65_535 if name == "value" else 255
    good = (numbers >= 0) & (numbers <= limit) & (numbers == np.round(numbers))
    if not good.all():
        wrong = column.iloc[int(np.flatnonzero(~good)[0])]
        raise InvalidArgument(
            "job.dataset",
            f"column {name!r} of the legend takes whole numbers from 0 to {limit}, got {wrong!r}",
            reason="BAD_LEGEND",
        )
    return numbers.astype(np.int64)


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in text)


def _drawn(number: int) -> tuple[int, int, int]:
    if number < len(PALETTE):
        return PALETTE[number]
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_ANGLE % 1.0, 0.65, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
