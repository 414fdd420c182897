"""Several processes that train one network, on one host or on many: who takes what of a batch, and what they tell each other.

The only module that knows of ranks. torchrun starts the processes; torch.distributed carries between them, by gloo on CPUs
and NCCL on GPUs. All hold the whole network and take every step together, each down the same mean of their gradients.
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

_SILENCE = timedelta(seconds=45)
"""After which a process that does not answer is taken for lost. A step takes seconds at most, a checkpoint or a validation
not much more; and a minute after a cable was pulled the run shall be over, with 15 s of it to end in.
"""
_GATHERING = timedelta(minutes=10)
"""In which all processes must have come, and have read their data: disks and caches differ from host to host."""
_LAST_WORDS = timedelta(seconds=2)
"""In which the first process says why it ends, before others speak."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets

_WAY_OUT = (
    "The last checkpoint stands: start again with resume (hourglass train --resume), or let torchrun do so (--max-restarts 3)."
)

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them: it is number `rank` of `size`."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's rows of a batch of `count`: the shares lie one after the other, and differ by one row at most.

        Of a smaller batch no process takes more rows; the last ones may have none.
        """
        whole, rest = divmod(count, self.size)
        start = self.rank * whole + min(self.rank, rest)
        return slice(start, start + whole + (self.rank < rest))

    def average(self, parameters: Sequence[Tensor], loss: float | Tensor, count: int) -> tuple[float | Tensor, float | Tensor]:
        """Make each parameter's `grad`, in place, that of the batch of which this process has seen `count` rows.

        One sum over all processes, of a vector with all gradients and the loss, weighted by the count, and the count itself.

        Parameters
        ----------
        parameters : sequence of Tensor
            The same in all processes; one without `grad` is given one.
        loss : float or Tensor without axes
            The mean over this process's rows, as are the gradients; whatever they are, they count nothing if `count` is 0.

        Returns
        -------
        (loss, count) of the whole batch: numbers, or on a GPU tensors without axes.

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
            vector.zero_()  # also what is not finite
        with _heard():
            torch_distributed.all_reduce(vector)
        vector[:-1].div_(vector[-1].clamp(min=1))  # of a batch that nobody could read, nothing
        *parts, ends = torch.split(vector, [*(gradient.numel() for gradient in gradients), 2])
        _COPY_EACH(gradients, [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)])
        if ends.device.type == "cuda":  # a look at them would wait for the step
            return ends[0], ends[1]
        mean, total = ends.tolist()
        return mean, round(total)

    def gather(self) -> None:
        """Wait until all have come as far: before the first step, for data may take long to be read.

        Raises
        ------
        ProcessError
        """
        for group in _patient:
            with _heard():
                torch_distributed.barrier(group)

    def follow_first(self, network: torch.nn.Module, stop: bool) -> bool:
        """Take the first process's weights, and return whether it stops: other processors round in other ways.

        Raises
        ------
        ProcessError
        """
        if self.size == 1:
            return stop
        state = [tensor for tensor in network.state_dict().values() if tensor.numel()]
        for tensor in state:
            given = tensor.contiguous()
            with _heard():
                torch_distributed.broadcast(given, 0)
            if given is not tensor:
                tensor.copy_(given)
        return self.from_first(lambda: stop)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process: bytes, or what JSON can hold. If it fails there, it fails in all.

        torch's own way would unpickle what comes over the network; nothing here does.

        Raises
        ------
        ProcessError, and whatever `make` does
        """
        if self.size == 1:
            return make()
        if self.rank > 0:
            return cast(T, _unpacked(_spread(None)))
        try:
            made = make()
        except Exception as error:
            _spread(b"!" + json.dumps([type(error).__name__, str(error)]).encode())
            raise
        _spread(b"b" + made if isinstance(made, bytes) else b"j" + json.dumps(made).encode())
        return made

    def check_alike(self, given: dict[str, Any]) -> None:
        """ParameterError if `given`, in JSON's types, is not as in the first process: other data, or other settings."""
        own = json.loads(json.dumps(given))
        first = self.from_first(lambda: own)
        differing = [name for name in own if own[name] != first.get(name) and " at 0x" not in f"{own[name]}"]  # addresses
        if differing:
            changes = ", ".join(f"{name} {first.get(name)!r} there, {own[name]!r} here" for name in differing)
            raise ParameterError(f"this process was not given what the first was ({changes}); all need the same.")


ALONE = Processes(0, 1)
_patient: list[Any] = []
"""Of the processes that torchrun started: the group in which they wait for each other's data."""


def current() -> Processes:
    """The processes that train together: those of torch's process group where there is one, else this one alone."""
    if not (torch_distributed.is_available() and torch_distributed.is_initialized()):
        return ALONE
    return Processes(torch_distributed.get_rank(), torch_distributed.get_world_size())


@contextlib.contextmanager
def joined() -> Iterator[Callable[[], None]]:
    """Within it a process that torchrun started is one of all those that it did. Of any other it does nothing.

    Yields what waits until all have come as far (`Processes.gather`), to be called when data are read. SIGTERM,
    with which torchrun ends its processes, raises ProcessError within, and afterwards does nothing.

    Raises
    ------
    ProcessError
    """
    if not all(name in os.environ for name in _LAUNCHED):
        yield lambda: None
        return
    signal.signal(signal.SIGTERM, _end)
    with _heard():
        rank, size = _number("RANK"), _number("WORLD_SIZE")
        store = _gathered(rank, size)
        torch_distributed.init_process_group(_backend(), timeout=_SILENCE, store=store, rank=rank, world_size=size)
        _patient.append(torch_distributed.new_group(backend="gloo", timeout=_GATHERING))
    try:
        yield current().gather
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending, and still has to say why
        _patient.clear()  # Python ends with SIGABRT where anyone still holds a group
        torch_distributed.destroy_process_group()


def words_of_first(own: str) -> str | None:
    """What the first process of torchrun's says as it ends: there `own`, elsewhere None if it says nothing for a moment."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:  # aside: a host that is cut off may leave it waiting
        with contextlib.suppress(RuntimeError):
            store = _store(is_host=False, timeout=_LAST_WORDS)
            if _number("RANK") == 0:
                store.set("last words", own)
            _wait_for(store, ["last words"], _LAST_WORDS)
            answers.put(store.get("last words").decode())

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_LAST_WORDS.total_seconds())
    except queue.Empty:
        return None


def _gathered(rank: int, size: int) -> Store:
    """Where the processes find each other, once all are there: some import for longer than any may be silent later."""
    store = _store(is_host=rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True", timeout=_GATHERING)
    store.set(f"{rank} is here", "")
    _wait_for(store, [f"{other} is here" for other in range(size)], _GATHERING)
    return store


def _wait_for(store: Store, names: list[str], patience: timedelta) -> None:
    """The store's own wait hears no signal, and torch reports one that is in vain."""
    end = time.monotonic() + patience.total_seconds()
    while not store.check(names):
        if time.monotonic() > end:
            raise RuntimeError(f"not all have come within {patience}")
        time.sleep(0.02)


def _store(*, is_host: bool, timeout: timedelta) -> Store:
    """The names and values that torchrun keeps for its processes; another's for each time that it starts them."""
    store = TCPStore(os.environ["MASTER_ADDR"], _number("MASTER_PORT"), is_master=is_host, timeout=timeout)
    return PrefixStore(f"hourglass/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _number(name: str) -> int:
    return int(os.environ[name])


def _backend() -> str:
    """NCCL between GPUs where each process of a host can have one of its own, which it then takes; gloo for all else."""
    n_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.device_count() < n_here or not torch_distributed.is_nccl_available():
        return "gloo"
    torch.cuda.set_device(_number("LOCAL_RANK"))
    return "cpu:gloo,cuda:nccl"


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise ProcessError(f"ended by torchrun, which was stopped or has lost another process of this run. {_WAY_OUT}")


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Within it, a process that is lost is a ProcessError."""
    try:
        yield
    except HourglassError:
        raise
    except RuntimeError as error:  # all that torch.distributed raises, timeouts too
        traceback.clear_frames(error.__traceback__)  # which hold process groups: see `joined`
        reason = str(error).split("\n")[0].split(". This is")[0].split("] ")[-1].rstrip(".")  # not the place in their source
        raise ProcessError(f"another process of this run is gone, or did not answer in time ({reason}). {_WAY_OUT}") from error


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:  # no step of this process has reached it
        parameter.grad = torch.zeros_like(parameter, requires_grad=False)
    return parameter.grad


def _copy_each(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    for tensor, other in zip(tensors, others, strict=True):
        tensor.copy_(other)


_COPY_EACH: Callable[..., object] = getattr(torch, "_foreach_copy_", _copy_each)  # one kernel on a GPU, but private


def _spread(content: bytes | None) -> bytes:
    """The first process's `content`, in all."""
    device = torch.device("cuda" if torch_distributed.get_backend() == "nccl" else "cpu")  # NCCL alone carries no other
    with _heard():
        size = torch.tensor([len(content or b"")], device=device)
        torch_distributed.broadcast(size, 0)
        room = bytearray(content or bytes(int(size)))
        carried = torch.frombuffer(room, dtype=torch.uint8).to(device)
        torch_distributed.broadcast(carried, 0)
    return carried.cpu().numpy().tobytes()


def _unpacked(content: bytes) -> Any:
    kind, rest = content[:1], content[1:]
    if kind == b"b":
        return rest
    told = json.loads(rest)
    if kind == b"j":
        return told
    known = getattr(errors, told[0], None)  # the first process's error
    if isinstance(known, type) and issubclass(known, HourglassError):
        raise known(told[1])
    raise ProcessError(f"the first process has failed: {told[0]}: {told[1]}")
