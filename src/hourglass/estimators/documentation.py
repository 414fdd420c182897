"""Shared docstrings and signatures of estimators, from the table of training options."""

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
    Network, sample, settings and history: runs the model without this estimator.
encoder_, decoder_ : torch.nn.Module
    Usable alone.
network_ : Network
    Both together.
sample_ : Sample
    Shape and scale of the fitted samples.
history_ : list of dict
    A row for each epoch: epoch, loss, validation_loss, learning_rate, seconds, images_per_second.
settings_ : dict
    The settings of training: the preset's values, updated by arguments.
n_iter_ : int
    Epochs trained.
n_features_in_ : int
    Values in a sample; for images of several sizes, channels."""

FIT_PARAMETERS = """callbacks : sequence of Callback
    Called after every batch and epoch.
checkpoint : path, optional
    A file that holds all of the run after every epoch.
resume : bool
    Resume from `checkpoint` if it exists: bit for bit as if uninterrupted, if the number of threads is the same (set
    OMP_NUM_THREADS)."""

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])


def parameters_text() -> str:
    """The arguments that all estimators share, in numpydoc format."""
    return "".join(described(name) for name in FIRST | OPTIONS).rstrip("\n")


def documented(kind: Class) -> Class:
    """Insert shared descriptions into the docstring of `kind`, and shared arguments into its signature.

    scikit-learn and help() then see all arguments of a constructor that passes `**options` to its base.
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
    """Insert the shared description of `fit`'s arguments into its docstring."""
    function.__doc__ = (function.__doc__ or "").replace("{fit_parameters}", indent(FIT_PARAMETERS, " " * 8).lstrip())
    return function
