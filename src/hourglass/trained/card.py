"""The card of a saved model, README.md: what it is, what it learned from, how well, and what it cannot do.

It begins with the metadata that model hubs read (YAML between two lines of ---).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from hourglass.errors import ParameterError
from hourglass.images import Sample

_MOST_ROWS = 20  # of the training's epochs
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_UNMEASURED = "Nothing else was measured for this card: add here what you measure on data of your own."
_HEAD = "library_name: hourglass\n"


class Words(NamedTuple):
    """What the card says of a kind of model.

    Attributes
    ----------
    what : str
        A sentence: what it is for.
    use : str
        A line of Python that uses `model`.
    tags : sequence of str
        For the metadata.
    pipeline : str
        The hub's name of the task for images, or "".
    limits : sequence of str
        Sentences: what to watch.
    """

    what: str
    use: str
    tags: Sequence[str] = ()
    pipeline: str = ""
    limits: Sequence[str] = ()


TRAINED = Words("A trained autoencoder without an estimator.", "codes = model.encode(samples)")
_LIMITS = (
    "It has learned from its own training data alone. Of samples unlike these its outputs mean little, and it does not say so.",
    "Models may give away what they were trained on; publish one only if its data may be public.",
)


def card(title: str, words: Words, sample: Sample, n_weights: int, config: dict[str, Any]) -> str:
    """The text of README.md for the model that `config` describes."""
    fitted = config["fitted"]
    loading = "hg.load_model" if config["estimator"] else "hourglass.trained.Trained.load"
    imported = "import hourglass as hg" if config["estimator"] else "import hourglass.trained"
    return f"""{_metadata(words, sample)}
# {title}

{words.what} Trained by hourglass {config["hourglass"]}.

```python
{imported}

model = {loading}("path/to/this/folder")
{words.use}
```

## Data

{_table(("what", "is"), _data(sample, fitted["data"]))}

## Settings

{fitted["settings"]["n_components"]} latent dimensions, {n_weights:,} weights.

{_table(("setting", "value"), [(key, f"`{json.dumps(value)}`") for key, value in fitted["settings"].items()])}

## Results

{_results(fitted, config["parameters"].get("early_stopping"))}

## Limits

{_list([*words.limits, *_LIMITS])}

Weights: `{config["payload"]["file"]}`, {config["payload"]["bytes"]:,} bytes, SHA-256 `{config["payload"]["sha256"]}`.
"""


def licensed(text: str, name: str | None) -> str:
    """The card with a license in its metadata, as the hub names it (mit, apache-2.0). Raises ParameterError."""
    if name is None:
        return text
    if not _LICENSE.fullmatch(name):
        raise ParameterError(f"license={name!r}; allowed: a name in small letters as the hub lists them, such as apache-2.0.")
    return text.replace(_HEAD, f"{_HEAD}license: {name}\n", 1)


def _metadata(words: Words, sample: Sample) -> str:
    tags = _list(["autoencoder", *words.tags])
    pipeline = f"pipeline_tag: {words.pipeline}\n" if words.pipeline and sample.is_image else ""
    return f"---\n{_HEAD}{pipeline}tags:\n{tags}\n---\n"


def _data(sample: Sample, data: dict[str, Any]) -> list[tuple[str, str]]:
    """What the model learned from, as far as it was recorded."""
    kind = "images" if sample.is_image else "rows of a table"
    rows = [("kind", kind), ("shape of one", str(sample))]
    if "name" in data:
        rows.insert(0, ("data set", data["name"]))
    if "samples" in data:
        rows.append(("samples", f"{data['samples']:,}"))
        rows.append(("held out, to validate", f"{data['held_out']:,}"))
    if data.get("pairs"):
        rows.append(("targets", "given beside the inputs"))
    if sample.is_image:
        integers = "0..255" if sample.white is None else f"0..{sample.white:g}"
        rows.append(("pixels", f"integers in {integers}, or floats in 0..1"))
    return rows


def _results(fitted: dict[str, Any], stops_early: Any) -> str:
    """The losses of the epoch whose weights the model has and, less closely, of all."""
    history = fitted["history"]
    if not history:
        return "No training is recorded."
    step = -(-len(history) // _MOST_ROWS)
    kept = min(history, key=lambda row: row["validation_loss"]) if stops_early else history[-1]
    rows = [row for row in history if row["epoch"] % step == 0 or row in (kept, history[-1])]
    known, loss = kept["validation_loss"], fitted["settings"]["loss"]
    validated = "nothing was held out" if known is None else f"{known:.5g} on samples that were held out"
    words = f"The loss (`{loss}`, and penalties if any) after {kept['epoch']:,} epochs is {kept['loss']:.5g} in training"
    table = [(row["epoch"], _number(row["loss"]), _number(row["validation_loss"])) for row in rows]
    return f"{words}, {validated}. {_UNMEASURED}\n\n{_table(('epoch', 'loss', 'validation loss'), table)}"


def _number(value: float | None) -> str:
    return "" if value is None else format(value, ".5f")


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [headings, ["---"] * len(headings), *rows])


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
