"""Training: the one loop, its optimisers, what it is fed, and checkpoints."""

from hourglass.training.callbacks import PrintEpochs, WriteHistory, describe_epoch
from hourglass.training.chance import seeded_globally
from hourglass.training.checkpoints import WriteCheckpoint, load_checkpoint, save_checkpoint
from hourglass.training.collapse import error_share
from hourglass.training.distribution import current, joined, words_of_first
from hourglass.training.examples import Examples, WholeSet, as_tensor, network_input
from hourglass.training.loop import train
from hourglass.training.machine import Threads, threads_now
from hourglass.training.optimizers import OPTIMIZERS, Muon
from hourglass.training.plan import SCHEDULES, Plan
from hourglass.training.run import PRECISIONS, Callback, Run
from hourglass.training.streamed import StreamedExamples

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Callback",
    "Examples",
    "Muon",
    "Plan",
    "PrintEpochs",
    "Run",
    "StreamedExamples",
    "Threads",
    "WholeSet",
    "WriteCheckpoint",
    "WriteHistory",
    "as_tensor",
    "current",
    "describe_epoch",
    "error_share",
    "joined",
    "load_checkpoint",
    "network_input",
    "save_checkpoint",
    "seeded_globally",
    "threads_now",
    "train",
    "words_of_first",
]
