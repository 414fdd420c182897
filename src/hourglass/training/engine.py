"""How a training step is made: as torch does it, or by hand where every derivative is known beforehand."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hourglass.errors import HourglassWarning
from hourglass.networks import Network, Pair, is_encoder_then_decoder, layers_of
from hourglass.networks.layers import Call, Layer
from hourglass.objectives import LOSSES, PENALTIES, Objective, Output
from hourglass.training.examples import Buffers, Memory
from hourglass.training.optimizers import Adam
from hourglass.training.run import PRECISIONS, Loss, Run


class Engine(ABC):
    """Makes the steps of a run down the gradient of an objective. All engines take the same gradient, to rounding."""

    def __init__(self, run: Run, objective: Objective) -> None:
        self.network, self.optimizer, self.objective = run.network, run.optimizer, objective
        self.dtype = PRECISIONS[run.precision]
        self.processes = run.processes
        self.count: Loss = 0
        """Rows of the last batch, in all processes."""

    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        """One step; the objective of the batch before it. Of several processes each is given its share of the batch."""
        n_own = len(targets)
        loss = self.backpropagate(inputs, targets) if n_own else 0.0
        self.count = n_own
        if self.processes.size > 1:
            loss, self.count = self.processes.average(self.optimizer.parameters, loss, n_own)
        elif not n_own:  # not one of its images can be read
            return loss
        self.optimizer.step()
        return loss

    memory: Memory | None = None
    """Where it reads its batches, if it has a place for them: what is written there is not copied."""

    def close(self) -> None:
        """After the last step: what was taken for speed is given back."""
        if isinstance(self.optimizer, Adam):
            self.optimizer.part()
        self.network.zero_grad(set_to_none=True)

    @abstractmethod
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        """The objective of a batch; its gradient is then in each parameter's `grad`, in place of what was there."""


class Eager(Engine):
    """As torch does it, for any network, objective and precision."""

    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        is_mixed = self.dtype != torch.float32
        with torch.autocast(inputs.device.type, self.dtype, enabled=is_mixed, cache_enabled=False):  # graphs allow no cache
            output = output_of(self.network, self.objective, inputs)
        loss = self.objective(output.as_float() if is_mixed else output, targets)
        self.network.zero_grad(set_to_none=False)  # gradients that keep their memory cost no page faults
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss.detach() if loss.device.type == "cuda" else loss.item()


def output_of(network: Network, objective: Objective, inputs: Tensor) -> Output:
    """What the network makes of `inputs`, with all that a penalty may ask for."""
    if objective.differentiates:
        inputs = inputs.detach().requires_grad_()
    output: Output = network(inputs)
    if not objective.penalties:
        return output
    weights = tuple(parameter for parameter in network.parameters() if parameter.ndim > 1)
    return output._replace(inputs=inputs, weights=weights)


class Dense(Engine):
    """By hand, for fully connected layers under the mean squared error, in memory that is taken once.

    Of an eager step on a small batch, most is not arithmetic: a graph is made and taken apart, and each result gets fresh
    memory. Here the calls of a step are put down once for a size of batch, and repeated.
    """

    def __init__(self, run: Run, objective: Objective, layers: list[Layer], widths: list[int]) -> None:
        super().__init__(run, objective)
        self.layers, self.widths = layers, widths
        self._places: dict[tuple[int, int], Buffers] = {}
        self._steps: dict[int, _Step] = {}  # by the identity of their inputs, which they hold on to
        self._room: list[list[Tensor]] = []
        """Of batches that lie elsewhere: what goes in, what is wanted, each layer's answers and slopes."""
        self._copied: dict[int, _Step] = {}  # by the size of such batches
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.begin()  # out of inference mode: what is made within cannot be used without
        if isinstance(self.optimizer, Adam):
            self.optimizer.join()

    @classmethod
    def of(cls, run: Run, objective: Objective) -> Dense | None:
        """The engine for the run's network and `objective`; None if it does not know all of their derivatives."""
        network, is_plain = run.network, objective.loss is LOSSES["mse"] and not objective.penalties
        if not is_plain or run.precision != "float32" or not is_encoder_then_decoder(network):
            return None
        layers = layers_of(network.encoder, network.decoder) or []
        weights = [layer.weight for layer in layers if layer.weight is not None]
        if not layers or len(weights) < len(layers):
            return None
        widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
        parameters = list(network.parameters())  # each once: layers that share weights are not for this engine
        slopes_are_known = all(
            parameter.requires_grad and not getattr(parameter, _PARAMETER_HOOKS, True) for parameter in parameters
        )
        slopes_are_known &= all(layer.activation is None or _can_be_told(layer.activation) for layer in layers)
        knows_all = 2 * len(layers) == len(parameters) and slopes_are_known
        return cls(run, objective, layers, widths) if knows_all and widths[0] == widths[-1] else None

    @torch.inference_mode()
    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        return super().step(inputs, targets)

    @torch.inference_mode()  # torch does less around each call than without gradients alone
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        step = self._steps.get(id(inputs))
        if step is None or step.inputs is not inputs or step.targets is not targets:
            step = self._copying(len(inputs))
            step.inputs.copy_(inputs.reshape(step.inputs.shape))
            step.targets.copy_(targets.reshape(step.targets.shape))
        for call in step.calls:
            call()
        return float(step.norms.square().sum()) * step.targets.numel() / 4  # of slopes 2 / numel · error

    def memory(self, batch_size: int, n_batches: int) -> Buffers:
        if (batch_size, n_batches) not in self._places:
            with torch.inference_mode(False):  # others write here
                whole = [
                    torch.empty(n_batches * batch_size, width, dtype=torch.float32)
                    for width in (self.widths[0], self.widths[-1])
                ]
                batches = list(zip(*(torch.split(part, batch_size) for part in whole), strict=True))
            with torch.inference_mode():
                answers, slopes = (self._layers_memory(batch_size) for _ in range(2))
                for inputs, targets in batches:
                    self._steps[id(inputs)] = self._put_down(inputs, targets, answers, slopes)
            self._places[batch_size, n_batches] = Buffers(whole[0], whole[1], batches)
        return self._places[batch_size, n_batches]

    def _layers_memory(self, batch_size: int) -> list[Tensor]:
        return [torch.empty(batch_size, width, dtype=torch.float32) for width in self.widths[1:]]

    def _copying(self, size: int) -> _Step:
        """A step on a copy of a batch. All sizes share the memory of the largest: shares differ from batch to batch."""
        if size not in self._copied:
            room = len(self._room[0][0]) if self._room else 0
            if size > room or len(self._copied) >= _SIZES:
                self._copied.clear()
                room = max(room, size)
                ends = ([torch.empty(room, width, dtype=torch.float32)] for width in (self.widths[0], self.widths[-1]))
                self._room = [*ends, self._layers_memory(room), self._layers_memory(room)]
            (inputs,), (targets,), answers, slopes = ([tensor[:size] for tensor in part] for part in self._room)
            self._copied[size] = self._put_down(inputs, targets, answers, slopes)
        return self._copied[size]

    def _put_down(self, inputs: Tensor, targets: Tensor, answers: list[Tensor], slopes: list[Tensor]) -> _Step:
        """All calls of a step on what will be in `inputs` and `targets`; `answers` and `slopes` are each layer's memory."""
        before = [inputs, *answers]
        calls = [call for place, layer in enumerate(self.layers) for call in layer.forward(before[place], answers[place])]
        norms = torch.empty(len(inputs), dtype=torch.float32)
        slope_of_error = torch.ops.aten.mse_loss_backward.grad_input
        calls.append(
            partial(slope_of_error, torch.ones((), dtype=torch.float32), answers[-1], targets, _MEAN, grad_input=slopes[-1])
        )
        # Sample by sample: how one sum over all is shared among threads, and so its bits, depends on their number.
        calls.append(partial(torch.linalg.vector_norm, slopes[-1], 2, 1, out=norms))
        for place, layer in reversed(list(enumerate(self.layers))):
            calls += layer.backward(before[place], answers[place], slopes[place], slopes[place - 1] if place else None)
        return _Step(inputs, targets, norms, calls)


def _can_be_told(activation: nn.LeakyReLU | nn.Sigmoid) -> bool:
    """Whether its slope follows from its answer: not where a negative slope folds two inputs onto one answer."""
    return not isinstance(activation, nn.LeakyReLU) or activation.negative_slope >= 0


_PARAMETER_HOOKS = "_backward_hooks"
"""Where torch keeps a parameter's hooks. Private: where it is missing, hooks cannot be ruled out, and torch makes the step."""
_MEAN = 1  # torch's number for this reduction


_SIZES = 256  # of batches whose calls are kept


class _Step(NamedTuple):
    inputs: Tensor
    targets: Tensor
    norms: Tensor
    """Of each answer's slopes."""
    calls: list[Call]


class Captured(Engine):
    """The eager step as a CUDA graph, one for each size of batch: one launch for some hundred kernels.

    The first steps run eagerly: they make what a graph must find in place, gradients, moments and libraries' workspaces. From
    then on everything that changes from step to step, batch, learning rate and loss, is in memory that stays where it is.
    """

    N_EAGER = 3
    MOST_GRAPHS = 8

    def __init__(self, run: Run, objective: Objective) -> None:
        super().__init__(run, objective)
        self.eager = Eager(run, objective)
        self._stream: Any = torch.cuda.Stream(run.device) if run.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._n_seen: Counter[int] = Counter()
        self._graphs: dict[int, _Graph] = {}
        self.optimizer.rate = torch.tensor(
            float(self.optimizer.rate), device=run.device, dtype=torch.float32
        )  # a number would be part of the graph

    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        self.count = size = len(inputs)
        if not size:
            return 0.0
        self._n_seen[size] += 1
        if self._n_seen[size] <= self.N_EAGER or (len(self._graphs) >= self.MOST_GRAPHS and size not in self._graphs):
            return self._aside(lambda: self.eager.step(inputs, targets))
        if size not in self._graphs:
            self._graphs[size] = self._capture(inputs.clone(), targets.clone())
        graph = self._graphs[size]
        graph.inputs.copy_(inputs)
        graph.targets.copy_(targets)
        graph.replay()
        return graph.loss.clone()  # the next step writes there

    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        return self.eager.backpropagate(inputs, targets)

    def close(self) -> None:
        super().close()
        self._graphs.clear()
        self.optimizer.rate = float(self.optimizer.rate)

    def _capture(self, inputs: Tensor, targets: Tensor) -> _Graph:
        """Record a step on these tensors without taking it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            loss = self.eager.step(inputs, targets)
        assert isinstance(loss, Tensor)
        return _Graph(inputs, targets, loss, graph.replay)

    def _aside(self, step: Callable[[], Loss]) -> Loss:
        """On the stream that graphs will be captured on: what is made there belongs to no other."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            loss = step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return loss


class _Graph(NamedTuple):
    inputs: Tensor
    targets: Tensor
    loss: Tensor
    replay: Callable[[], object]


def engine_for(run: Run, objective: Objective) -> Engine:
    """The fastest engine that knows the run's network and `objective`.

    Modules and penalties of the user's own may do what a graph cannot record, as to look at a value; they run eagerly. So do
    several processes, which between gradients and step wait for each other.
    """
    processes = run.processes
    if processes.size > 1 and processes.is_first and objective.compares_batch:
        words = "a penalty compares the images of a batch; each of the processes compares those of its share alone."
        warnings.warn(words, HourglassWarning, stacklevel=2)
    if run.device.type == "cuda" and processes.size == 1:
        is_ours = not isinstance(run.network, Pair) and {type(penalty) for penalty in objective.penalties} <= set(
            PENALTIES.values()
        )
        return Captured(run, objective) if is_ours else Eager(run, objective)
    return Dense.of(run, objective) or Eager(run, objective)
