"""White levels of images deeper than 8 bits: the value that maps to 1 in all images of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from hourglass.errors import DataError, ParameterError
from hourglass.images import ROUNDING, Array, to_unit, white_level
from hourglass.notes import note


def check_white(white: float | None) -> None:
    """Raise ParameterError unless `white` is None or a number above 0."""
    if white is not None and (isinstance(white, bool) or not isinstance(white, Real) or not 0 < white < math.inf):
        raise ParameterError(f"white={white!r}; allowed: the value that maps to 1, a number above 0, such as 4095 for 12 bits.")


def white_of(largest: Sequence[tuple[float, bool]], name: str, white: float | None = None) -> float:
    """Return the white level of a data set: `white`, or one inferred with a HourglassWarning.

    Parameters
    ----------
    largest : sequence of (float, bool)
        The largest value of each image, and whether it is an integer. Floats up to 1 have the white level 1 regardless of
        `white`.
    name : str
        Name of the data set for messages.
    white : float, optional

    Raises
    ------
    DataError
        If floats up to 1 and integers are mixed.
    """
    maximum, kinds = max(value for value, _ in largest), {is_integer for _, is_integer in largest}
    if kinds == {False} and maximum <= 1 + ROUNDING:
        return 1.0
    if len(kinds) > 1 and are_units(largest):
        raise DataError(f"{name}: floats up to 1 and integers up to {maximum:g} have no common white level; keep them apart.")
    if white is not None:
        return white
    found = white_level(maximum, is_integer=True in kinds)
    message = f"{name}: white level {found:g} ({math.log2(found + 1):.0f} bits), inferred from the largest value {maximum:g}"
    note(f"{message}; set it with white= or --white.", 4)
    return found


def are_units(largest: Sequence[tuple[float, bool]]) -> bool:
    """Whether floats are among images with these `largest` values (see `white_of`), all up to 1, and one is not black."""
    return 0 < max((value for value, is_integer in largest if not is_integer), default=0) <= 1 + ROUNDING


def near_black(largest: float, white: float, *, is_integer: bool) -> str:
    """A message on an image whose floats up to 1 are divided by a larger `white`; "" for others."""
    if is_integer or not 0 < largest <= 1 + ROUNDING < white:
        return ""
    return f"holds floats up to {largest:g}, near black at the white level {white:g} (white=)."


def common_level(arrays: Sequence[Array], name: str, white: float | None = None) -> float | None:
    """Return `white`, or the inferred white level of all `arrays` of integers other than uint8; None without any."""
    deep = [
        (float(array.max()), True) for array in arrays if array.dtype.kind in "iu" and array.dtype.itemsize > 1 and array.size
    ]
    return white_of(deep, name) if white is None and deep else white


def unit_array(array: Array, name: str, white: float | None = None) -> tuple[Array, float | None]:
    """Scale images to the image contract: return (images, white level or None).

    Integers other than uint8, and floats if `white` is given, become float32 in 0..1; other arrays are returned unchanged.
    """
    is_integer = array.dtype.kind in "iu" and array.dtype.itemsize > 1
    is_float = array.dtype.kind == "f" and white is not None
    if array.ndim not in (3, 4) or not array.size or not (is_integer or is_float):
        return array, None
    found = white_of([(float(array.max()), is_integer)], name, white)
    return (array, None) if is_float and found == 1 else (to_unit(array, found, name=name), found)
