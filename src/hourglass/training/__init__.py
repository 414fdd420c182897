"""Training: the loop, engines, optimisers, sources of samples, and checkpoints."""

from hourglass.training.arrays import as_tensor, network_input
from hourglass.training.callbacks import PrintEpochs, WriteHistory, describe_epoch
from hourglass.training.checkpoints import WriteCheckpoint, load_checkpoint, save_checkpoint
from hourglass.training.collapse import error_share
from hourglass.training.distribution import Processes, current, joined, words_of_first
from hourglass.training.examples import Examples
from hourglass.training.full_batch import FullBatch
from hourglass.training.loop import train
from hourglass.training.machine import Threads, kept_memory, threads_now, usual_threads
from hourglass.training.neighbouring import Neighbouring
from hourglass.training.optimizers import OPTIMIZERS, Muon, Optimizer
from hourglass.training.plan import SCHEDULES, Plan
from hourglass.training.random_state import exact_convolutions, ordinary_torch, seeded_globally
from hourglass.training.run import PRECISIONS, Callback, Run
from hourglass.training.sources import Crops, Rows, Source, Streamed, source_of
from hourglass.training.trackers import TRACKERS, MLflow, TensorBoard, Tracker

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "TRACKERS",
    "Callback",
    "Crops",
    "Examples",
    "FullBatch",
    "MLflow",
    "Muon",
    "Neighbouring",
    "Optimizer",
    "Plan",
    "PrintEpochs",
    "Processes",
    "Rows",
    "Run",
    "Source",
    "Streamed",
    "TensorBoard",
    "Threads",
    "Tracker",
    "WriteCheckpoint",
    "WriteHistory",
    "as_tensor",
    "current",
    "describe_epoch",
    "error_share",
    "exact_convolutions",
    "joined",
    "kept_memory",
    "load_checkpoint",
    "network_input",
    "ordinary_torch",
    "save_checkpoint",
    "seeded_globally",
    "source_of",
    "threads_now",
    "train",
    "usual_threads",
    "words_of_first",
]
