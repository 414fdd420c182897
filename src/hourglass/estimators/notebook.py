"""How a fitted estimator looks in a notebook: its network, its learning curve and its settings."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from hourglass.notes import quiet

_EXAMPLE = (64, 64)  # height and width for which a network of any size is drawn


class NotebookView:
    """Mixin that adds to scikit-learn's diagram of an estimator what it has learned.

    scikit-learn reads every property for it, also former names, which then say nothing.
    """

    def __dir__(self) -> list[str]:
        with quiet():
            return list(super().__dir__())

    def _repr_html_inner(self) -> str:
        with quiet():
            shown: str = super()._repr_html_inner()  # type: ignore[misc]  # scikit-learn's, beside this mixin
        return shown + learned_html(self)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        with quiet():
            bundle: dict[str, Any] = super()._repr_mimebundle_(**options)  # type: ignore[misc]  # likewise
        if "text/html" in bundle:
            bundle["text/html"] += learned_html(self)
        return bundle


def learned_html(estimator: Any) -> str:
    """The network drawn, the learning curve and the settings of a fitted estimator, as HTML; "" before `fit`."""
    if not hasattr(estimator, "model_"):
        return ""
    from matplotlib.figure import Figure

    from hourglass.plot import learning_curve, structure
    from hourglass.plot.figures import inline_svg

    model, name = estimator.model_, f"hourglass-{id(estimator)}"
    sample = model.sample
    shape = (sample.channels, *_EXAMPLE) if sample.is_any_size else sample.network_shape
    drawn = inline_svg(structure(model.network, shape), f"{name}-network", "The layers of the network")
    figure = Figure(figsize=(5.4, 2.7), dpi=150, layout="constrained")
    learning_curve(model.history, ax=figure.subplots())
    curve = inline_svg(figure, f"{name}-curve", "Loss over epochs")
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th><td style='text-align:left'>{escape(_text(value))}</td></tr>"
        for key, value in model.settings.items()
    )
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    summary = f"{type(estimator).__name__}, fitted: samples of {sample}, {weights:,} weights, {len(model.history)} epochs"
    return (
        f"<details open><summary>{escape(summary)}</summary><div style='overflow-x:auto'>{drawn}</div><div>{curve}</div>"
        f"<details><summary>settings</summary><table>{rows}</table></details></details>"
    )


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return repr(value)
