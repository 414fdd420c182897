"""Every penalty by name, and how one is written to a model's config.json and read back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hourglass.errors import FormatError, ParameterError
from hourglass.objectives.penalties import L1, L2, Contractive, Contrast, KLSparsity, Neighbours, Penalty, Rate

PENALTIES: dict[str, type[Penalty]] = {
    "l1": L1,
    "l2": L2,
    "kl_sparsity": KLSparsity,
    "contractive": Contractive,
    "rate": Rate,
    "contrast": Contrast,
    "neighbours": Neighbours,
}


def to_config(penalty: Penalty) -> dict[str, Any]:
    """`penalty` as JSON can hold it: its name in the dict and its fields. ParameterError for a class of one's own."""
    names = {kind: name for name, kind in PENALTIES.items()}
    if type(penalty) not in names:
        raise ParameterError(f"{penalty!r} is no penalty of this library; only {', '.join(PENALTIES)} can be saved.")
    return {"name": names[type(penalty)], **asdict(penalty)}


def from_config(config: dict[str, Any]) -> Penalty:
    """The penalty that `to_config` wrote. FormatError if this version has none of that name or with those fields."""
    fields = dict(config)
    name = fields.pop("name", None)
    if name not in PENALTIES:
        raise FormatError(f"penalty {name!r} is unknown here; known: {', '.join(PENALTIES)}.")
    try:
        return PENALTIES[name](**fields)
    except TypeError as error:
        raise FormatError(f"penalty {name!r} cannot be made from {fields}: {error}") from error
