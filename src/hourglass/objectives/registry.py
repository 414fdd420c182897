"""Penalties by name, and their (de)serialisation in a model's config.json."""

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
    """Return `penalty` as JSON: its name in `PENALTIES` and its fields. Raises ParameterError for a user-defined class."""
    names = {kind: name for name, kind in PENALTIES.items()}
    if type(penalty) not in names:
        raise ParameterError(f"{penalty!r} is not a penalty of this library; only {', '.join(PENALTIES)} can be saved.")
    return {"name": names[type(penalty)], **asdict(penalty)}


def from_config(config: dict[str, Any]) -> Penalty:
    """Return the penalty that `to_config` wrote. Raises FormatError for an unknown name or unknown fields."""
    fields = dict(config)
    name = fields.pop("name", None)
    if name not in PENALTIES:
        raise FormatError(f"penalty {name!r} is unknown; known: {', '.join(PENALTIES)}.")
    try:
        return PENALTIES[name](**fields)
    except TypeError as error:
        raise FormatError(f"penalty {name!r} cannot be made from {fields}: {error}") from error
