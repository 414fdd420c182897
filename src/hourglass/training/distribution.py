"""Data-parallel training by several processes, on one host or many.

The only module that knows of ranks. torchrun starts the processes; torch.distributed connects them, by gloo on CPUs and NCCL
on GPUs. Each process holds the whole network; all take every step together, with the mean of their gradients.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as torch_distributed
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # documented, not declared

from hourglass import errors
from hourglass.errors import HourglassError, ParameterError, ProcessError

_TIMEOUT = timedelta(seconds=45)
"""Time after which a silent process counts as lost. A step takes seconds at most, a checkpoint or a validation little more.
A run ends within a minute of a lost connection, 15 s of which are for shutting down.
"""
_START_TIMEOUT = timedelta(minutes=10)
"""Time for all processes to start and read their data: disks and caches differ between hosts."""
_ERROR_TIMEOUT = timedelta(seconds=2)
"""Time for rank 0 to report its error before others report theirs."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets

_ADVICE = (
    "The last checkpoint stands: start again with resume (hourglass train --resume), or let torchrun do so (--max-restarts 3)."
)

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The process group of a run, and this process's rank in it."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether it has rank 0, which alone writes and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's rows of a batch of `count`. Shares are consecutive, and differ by one row at most.

        A smaller batch gives no process more rows; the last shares may be empty.
        """
        whole, rest = divmod(count, self.size)
        start = self.rank * whole + min(self.rank, rest)
        return slice(start, start + whole + (self.rank < rest))

    def average(self, parameters: Sequence[Tensor], loss: float | Tensor, count: int) -> tuple[float | Tensor, float | Tensor]:
        """Average gradients and loss over all processes, in place, weighted by the rows of each.

        One all-reduce of a vector of all gradients and the loss, weighted by `count`, and `count` itself.

        Parameters
        ----------
        parameters : sequence of Tensor
            The same in all processes. A missing `grad` is set to zeros.
        loss : float or scalar Tensor
            Mean over this process's rows, like the gradients. Ignored if `count` is 0.
        count : int
            Rows of this process.

        Returns
        -------
        (loss, count) of the whole batch: numbers, or on a GPU scalar tensors.

        Raises
        ------
        ProcessError
        """
        gradients = [_gradient(parameter) for parameter in parameters]
        ends = torch.stack([loss, torch.ones_like(loss)]) if isinstance(loss, Tensor) else torch.tensor([loss, 1.0])
        vector = torch.cat([*(gradient.flatten() for gradient in gradients), ends.to(gradients[0].device)])
        if count:
            vector.mul_(count)
        else:
            vector.zero_()  # also values that are not finite
        with _process_errors():
            torch_distributed.all_reduce(vector)
        vector[:-1].div_(vector[-1].clamp(min=1))  # 0 if nobody could read the batch
        *parts, ends = torch.split(vector, [*(gradient.numel() for gradient in gradients), 2])
        _COPY_EACH(gradients, [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)])
        if ends.device.type == "cuda":  # reading them would synchronise
            return ends[0], ends[1]
        mean, total = ends.tolist()
        return mean, round(total)

    def barrier(self) -> None:
        """Wait for all processes before the first step, as reading data may take long.

        Raises
        ------
        ProcessError
        """
        for group in _start_groups:
            with _process_errors():
                torch_distributed.barrier(group)

    def follow_first(self, network: torch.nn.Module, stop: bool) -> bool:
        """Take the weights of rank 0, as processors round differently, and return whether it stops.

        Raises
        ------
        ProcessError
        """
        if self.size == 1:
            return stop
        state = [tensor for tensor in network.state_dict().values() if tensor.numel()]
        for tensor in state:
            given = tensor.contiguous()
            with _process_errors():
                torch_distributed.broadcast(given, 0)
            if given is not tensor:
                tensor.copy_(given)
        return self.from_first(lambda: stop)

    def from_first(self, make: Callable[[], T]) -> T:
        """Broadcast the result of `make` on rank 0: bytes, or JSON. If it raises there, all processes raise.

        `broadcast_object_list` would unpickle data from the network.

        Raises
        ------
        ProcessError, and whatever `make` does
        """
        if self.size == 1:
            return make()
        if self.rank > 0:
            return cast(T, _unpacked(_broadcast(None)))
        try:
            made = make()
        except Exception as error:
            _broadcast(b"!" + json.dumps([type(error).__name__, str(error)]).encode())
            raise
        _broadcast(b"b" + made if isinstance(made, bytes) else b"j" + json.dumps(made).encode())
        return made

    def check_alike(self, given: dict[str, Any]) -> None:
        """Raise ParameterError if `given`, as JSON, differs from that of rank 0: other data or settings."""
        own = json.loads(json.dumps(given))
        first = self.from_first(lambda: own)
        differing = [name for name in own if own[name] != first.get(name) and " at 0x" not in f"{own[name]}"]  # addresses
        if differing:
            changes = ", ".join(f"{name} {first.get(name)!r} there, {own[name]!r} here" for name in differing)
            raise ParameterError(f"this process differs from the first ({changes}); all need the same data and arguments.")


ALONE = Processes(0, 1)
_start_groups: list[Any] = []
"""The process group, with a longer timeout, in which processes wait for each other's data."""


def current() -> Processes:
    """Torch's process group if there is one, else this process alone."""
    if not (torch_distributed.is_available() and torch_distributed.is_initialized()):
        return ALONE
    return Processes(torch_distributed.get_rank(), torch_distributed.get_world_size())


@contextlib.contextmanager
def joined() -> Iterator[Callable[[], None]]:
    """Join the process group in a process that torchrun started; do nothing in any other.

    Yields a barrier to call after reading data (`Processes.barrier`). SIGTERM, by which torchrun ends its processes, raises
    ProcessError in the context, and is ignored afterwards.

    Raises
    ------
    ProcessError
    """
    if not all(name in os.environ for name in _LAUNCHED):
        yield lambda: None
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    with _process_errors():
        rank, size = _env_int("RANK"), _env_int("WORLD_SIZE")
        store = _rendezvous(rank, size)
        torch_distributed.init_process_group(_backend(), timeout=_TIMEOUT, store=store, rank=rank, world_size=size)
        _start_groups.append(torch_distributed.new_group(backend="gloo", timeout=_START_TIMEOUT))
    try:
        yield current().barrier
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it still has to report why it ends
        _start_groups.clear()  # Python aborts if a reference to a group is left
        torch_distributed.destroy_process_group()


def words_of_first(own: str) -> str | None:
    """The error that rank 0 reports as it ends: `own` on rank 0; elsewhere None if it reports none in time."""
    received: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:  # in a thread: it may hang on a host that is cut off
        with contextlib.suppress(RuntimeError):
            store = _store(is_host=False, timeout=_ERROR_TIMEOUT)
            if _env_int("RANK") == 0:
                store.set("last words", own)
            _wait_for(store, ["last words"], _ERROR_TIMEOUT)
            received.put(store.get("last words").decode())

    threading.Thread(target=ask, daemon=True).start()
    try:
        return received.get(timeout=_ERROR_TIMEOUT.total_seconds())
    except queue.Empty:
        return None


def _rendezvous(rank: int, size: int) -> Store:
    """The store in which the processes find each other, once all have started; imports may exceed `_TIMEOUT`."""
    store = _store(is_host=rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True", timeout=_START_TIMEOUT)
    store.set(f"{rank} is here", "")
    _wait_for(store, [f"{other} is here" for other in range(size)], _START_TIMEOUT)
    return store


def _wait_for(store: Store, names: list[str], patience: timedelta) -> None:
    """Poll, as the store's own wait handles no signals, and torch logs its timeout."""
    end = time.monotonic() + patience.total_seconds()
    while not store.check(names):
        if time.monotonic() > end:
            raise RuntimeError(f"not all processes started within {patience}")
        time.sleep(0.02)


def _store(*, is_host: bool, timeout: timedelta) -> Store:
    """Torchrun's key-value store, under a prefix of its own after each restart."""
    store = TCPStore(os.environ["MASTER_ADDR"], _env_int("MASTER_PORT"), is_master=is_host, timeout=timeout)
    return PrefixStore(f"hourglass/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _env_int(name: str) -> int:
    return int(os.environ[name])


def _backend() -> str:
    """NCCL if each process of the host has a GPU of its own, which it then selects; else gloo."""
    n_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.device_count() < n_here or not torch_distributed.is_nccl_available():
        return "gloo"
    torch.cuda.set_device(_env_int("LOCAL_RANK"))
    return "cpu:gloo,cuda:nccl"


def _raise_terminated(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise ProcessError(f"ended by torchrun, which was stopped or has lost another process of this run. {_ADVICE}")


@contextlib.contextmanager
def _process_errors() -> Iterator[None]:
    """Raise ProcessError for errors of torch.distributed."""
    try:
        yield
    except HourglassError:
        raise
    except RuntimeError as error:  # of torch.distributed, timeouts included
        traceback.clear_frames(error.__traceback__)  # which hold process groups: see `joined`
        reason = str(error).split("\n")[0].split(". This is")[0].split("] ")[-1].rstrip(".")  # without their source location
        raise ProcessError(f"another process of this run ended, or timed out ({reason}). {_ADVICE}") from error


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:  # no step of this process has used it
        parameter.grad = torch.zeros_like(parameter, requires_grad=False)
    return parameter.grad


def _copy_each(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    for tensor, other in zip(tensors, others, strict=True):
        tensor.copy_(other)


_COPY_EACH: Callable[..., object] = getattr(torch, "_foreach_copy_", _copy_each)  # one kernel on a GPU, but private


def _broadcast(content: bytes | None) -> bytes:
    """The `content` of rank 0, on all ranks."""
    device = torch.device("cuda" if torch_distributed.get_backend() == "nccl" else "cpu")  # NCCL transfers nothing else
    with _process_errors():
        size = torch.tensor([len(content or b"")], device=device)
        torch_distributed.broadcast(size, 0)
        buffer = bytearray(content or bytes(int(size)))
        received = torch.frombuffer(buffer, dtype=torch.uint8).to(device)
        torch_distributed.broadcast(received, 0)
    return received.cpu().numpy().tobytes()


def _unpacked(content: bytes) -> Any:
    kind, rest = content[:1], content[1:]
    if kind == b"b":
        return rest
    decoded = json.loads(rest)
    if kind == b"j":
        return decoded
    known = getattr(errors, decoded[0], None)  # the error of rank 0
    if isinstance(known, type) and issubclass(known, HourglassError):
        raise known(decoded[1])
    raise ProcessError(f"the first process failed: {decoded[0]}: {decoded[1]}")
