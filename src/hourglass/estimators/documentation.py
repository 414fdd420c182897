"""Docstrings and signatures of what all estimators share, made of the table of training options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from textwrap import indent
from typing import Any, TypeVar

from hourglass.options import FIRST, OPTIONS, described

ATTRIBUTES = """Attributes
----------
model_ : Trained
    Network, sample, settings and history: all that it takes to run the model without this estimator.
encoder_, decoder_ : torch.nn.Module
    Each usable alone.
network_ : Network
    Both together.
sample_ : Sample
    Shape and scale of the fitted samples.
history_ : list of dict
    A row an epoch: epoch, loss, validation_loss, learning_rate, seconds, images_per_second.
settings_ : dict
    The preset's values with those that were given, as training used them.
n_iter_ : int
    Epochs trained.
n_features_in_ : int
    Values a sample; of images of several sizes, their channels."""

FIT_PARAMETERS = """callbacks : sequence of Callback
    Called after every batch and epoch.
checkpoint : path, optional
    A file that holds all of the run after every epoch.
resume : bool
    Go on from `checkpoint` if it exists: bit for bit as if never interrupted, where the number of threads is the same (which
    OMP_NUM_THREADS fixes)."""

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])


def parameters_text() -> str:
    """The arguments that all estimators share, as numpydoc has them."""
    return "".join(described(name) for name in FIRST | OPTIONS).rstrip("\n")


def documented(kind: Class) -> Class:
    """Put the shared descriptions where the docstring of `kind` names them, and the shared arguments into its signature.

    A constructor that passes `**options` on to its base shows all arguments by name, to scikit-learn and to help().
    """
    shared = f"{parameters_text()}\n\n{ATTRIBUTES}"
    text = inspect.cleandoc(kind.__doc__ or "").replace("{parameters}", f"Parameters\n----------\n{shared}")
    kind.__doc__ = text.replace("\n\n{shared}", f"\n{shared}")
    init = next(vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base))
    given = [
        parameter for parameter in inspect.signature(init).parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD
    ]
    named = {parameter.name for parameter in given}
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=option.default) for name, option in OPTIONS.items() if name not in named
    ]
    init.__signature__ = inspect.Signature([*given, *options])
    return kind


def documented_fit(function: Function) -> Function:
    """Put the shared description of a fit's arguments where its docstring names them."""
    function.__doc__ = (function.__doc__ or "").replace("{fit_parameters}", indent(FIT_PARAMETERS, " " * 8).lstrip())
    return function
