"""Images of more than 8 bits: one value that stands for 1 in all images of a set."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Real

from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.images import Array, to_unit, white_level


def check_white(white: float | None) -> None:
    """ParameterError unless it is None or a number above 0."""
    if white is not None and (isinstance(white, bool) or not isinstance(white, Real) or not 0 < white < math.inf):
        raise ParameterError(f"white={white!r}; allowed: the value that stands for 1, a number above 0, as 4095 of 12 bits.")


def white_of(largest: Sequence[tuple[float, bool]], name: str, white: float | None = None) -> float:
    """The white level of a set: `white`, or found, with a HourglassWarning that says it.

    Parameters
    ----------
    largest : sequence of (float, bool)
        The largest value of each image, and whether it is an integer. Floats up to 1 have 1 already, whatever `white` is.
    name : str
        What notes and errors call the set.
    white : float, optional

    Raises
    ------
    DataError
        If integers and floats up to 1 come together.
    """
    most, kinds = max(value for value, _ in largest), {is_integer for _, is_integer in largest}
    if kinds == {False} and most <= 1:
        return 1.0
    if white is not None:
        return white
    if len(kinds) > 1 and max(value for value, is_integer in largest if not is_integer) <= 1:
        raise DataError(f"{name}: floats up to 1 and integers up to {most:g} have no one white level; keep them apart.")
    found = white_level(most, is_integer=True in kinds)
    words = f"{name}: white level {found:g} ({math.log2(found + 1):.0f} bits), from the largest value {most:g}"
    warnings.warn(f"{words}; white= or --white fixes it.", HourglassWarning, stacklevel=4)
    return found


def unit_array(array: Array, name: str, white: float | None = None) -> tuple[Array, float | None]:
    """(images in an array as they keep the contract, their white level or None): integers other than uint8, and floats beyond 1
    if `white` is given, become float32 in 0..1; all else stays as it is.
    """
    is_integer = array.dtype.kind in "iu" and array.dtype.itemsize > 1
    is_float = array.dtype.kind == "f" and white is not None
    if array.ndim not in (3, 4) or not array.size or not (is_integer or is_float):
        return array, None
    found = white_of([(float(array.max()), is_integer)], name, white)
    return (array, None) if is_float and found == 1 else (to_unit(array, found, name=name), found)
