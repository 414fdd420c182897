"""The description of the arguments that all estimators share, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from textwrap import indent
from typing import Any, TypeVar

PARAMETERS = """Parameters
----------
n_components : int, optional
    Numbers in a code. The preset's (32) by default, as for every argument below whose default is None.
network : str, or (encoder, decoder), optional
    "linear", "mlp", "conv", "skip", "residual", "variational", "noisy", "quantised", "embedding"; or a pair, each part one of
    the first three or a torch module of your own:
    float32 (n, c, h, w) or (n, features) -> (n, n_components), and back. Modules are copied before training.
hidden : sequence of int, or (encoder's, decoder's), optional
    Widths (mlp) or channels (conv, skip) between input and code, in the encoder's order. One sequence serves
    both; with a pair they need not mirror each other.
preset : {"default", "chapter", "linear", "best", "skip", "features", "detect", "generate", "compress", "enhance"}
    A named set of values; an argument given beside it wins. "chapter" is the textbook's own training, "default" the
    same network trained well ("linear" with network="linear"), "best" a wider network, "skip" one with connections past the
    code. The others are what the
    estimators of these uses take by default; "features" makes codes that are alike for alike images.
epochs : int, optional
    Passes over the training samples. By default the preset's, or on few samples as many as make some hundred steps.
batch_size : int, optional
    Samples a step. The default preset takes a tenth of the training samples, between 64 and 512.
learning_rate : float, optional
    The optimiser's largest step.
optimizer : {"muon", "adam"}, optional
schedule : {"decay", "linear", "constant"}, optional
    Of the learning rate. "linear" rises over the first tenth of the steps, then falls to zero in a straight line; "decay" rises
    over the first fiftieth.
initialization : {"centered", "torch"}, optional
    torch's own first weights; "centered" also shifts two biases so that
    training starts at the data's mean, in networks that are given by one name.
loss : {"mse", "bce", "mae", "ssim"}, optional
    bce needs values in 0..1, ssim images.
penalty : Penalty or sequence of Penalty, optional
    Added to the loss: `L1(1e-3)`, `L2(1e-6, on="weights")`, `KLSparsity(1e-3)`, `Contractive(1e-3)`, …; several add up.
    () for none where the preset has one.
corruption : Corruption, optional
    Damages the inputs in training, never the targets.
redraw : bool, optional
    Draw the damage anew for every batch (True), or once for all epochs, as the chapter does (False).
precision : {"float32", "bfloat16"}, optional
    Of the products in training. "bfloat16" is mixed precision: weights, their updates and the loss stay float32. Faster on
    GPUs and on processors that have instructions for it, slower on others.
validation_fraction : float in [0, 1), optional
    Share of the samples that is not trained on but gives the validation loss. By default 0.1; none where network="linear"
    copies its samples, which then are all in every step and come to the principal subspace of all of them.
early_stopping : bool
    End after `patience` epochs without a lower validation loss, and keep the best epoch's weights.
patience : int
white : float, optional
    What stands for 1 in integer images deeper than 8 bits: 4095 for 12 bits. By default the full scale of as many bits as the
    largest value of `X` needs, with a note. Kept as `layout_.white`, and saved.
random_state : int, RandomState or None
    Where the split, first weights, order and noise come from. An int gives the same bits every time on the same machine,
    whatever runs beside it.
n_threads : int, "auto" or None
    How many threads compute. "auto" tries now and then which number is fastest beside whatever else runs, and is the default
    without a seed. With one the number stays torch's own, for a convolution's bits depend on it. An int fixes it: so a
    convolutional network is the same bits in worker processes too, to which joblib gives fewer threads.
device : str
    "auto" (a CUDA device if there is one), "cpu", "cuda", …
verbose : bool or int
    Print a line an epoch to standard error.

Attributes
----------
encoder_, decoder_ : torch.nn.Module
    Each usable alone.
network_ : Network
    Both together.
history_ : list of dict
    A row an epoch: epoch, loss, validation_loss, learning_rate, seconds, images_per_second.
settings_ : dict
    The preset's values with those that were given, as training used them.
n_iter_ : int
    Epochs trained.
n_features_in_ : int
    Values a sample."""

FIT_PARAMETERS = """callbacks : sequence of Callback
    Told of every batch and epoch.
checkpoint : path, optional
    A file that holds all of the run after every epoch.
resume : bool
    Go on from `checkpoint` if it exists: bit for bit as if never interrupted, where the number of threads is the same (which
    OMP_NUM_THREADS fixes)."""

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])


def documented(kind: Class) -> Class:
    """Put the shared descriptions where the docstring of `kind` names them, and the shared arguments into its signature.

    A constructor that passes `**shared` on to its base shows, to scikit-learn and to help(), all arguments by name.
    """
    text = inspect.cleandoc(kind.__doc__ or "").replace("{parameters}", PARAMETERS)
    kind.__doc__ = text.replace("\n\n{shared}", PARAMETERS.removeprefix("Parameters\n----------"))
    own = kind.__dict__.get("__init__")
    if own is not None:
        kept = {name: p for name, p in inspect.signature(own).parameters.items() if p.kind is not p.VAR_KEYWORD}
        inherited = next(vars(base)["__init__"] for base in kind.__mro__[1:] if "__init__" in vars(base))
        base = inspect.signature(inherited).parameters
        merged = kept | {name: parameter for name, parameter in base.items() if name not in kept}
        own.__signature__ = inspect.Signature(sorted(merged.values(), key=lambda parameter: parameter.kind))
    return kind


def documented_fit(function: Function) -> Function:
    """Put the shared description of a fit's arguments where its docstring names them."""
    function.__doc__ = (function.__doc__ or "").replace("{fit_parameters}", indent(FIT_PARAMETERS, " " * 8).lstrip())
    return function
