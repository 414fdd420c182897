"""Training steps: by autograd, by recorded calls for fully connected layers, or by a CUDA graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hourglass.networks import Network, Pair, is_encoder_then_decoder, layers_of
from hourglass.networks.layers import Call, Layer
from hourglass.notes import note
from hourglass.objectives import LOSSES, PENALTIES, Objective, Output
from hourglass.training.examples import Buffers, Memory
from hourglass.training.optimizers import Adam
from hourglass.training.run import PRECISIONS, Loss, Run


class Engine(ABC):
    """Takes optimisation steps on an objective. All engines compute the same gradient, to rounding."""

    def __init__(self, run: Run, objective: Objective) -> None:
        self.network, self.optimizer, self.objective = run.network, run.optimizer, objective
        self.dtype = PRECISIONS[run.precision]
        self.processes = run.processes
        self.count: Loss = 0
        """Rows of the last batch over all processes."""

    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        """Take one step on this process's share of a batch; return the objective before it."""
        n_own = len(targets)
        loss = self.backpropagate(inputs, targets) if n_own else 0.0
        self.count = n_own
        if self.processes.size > 1:
            loss, self.count = self.processes.average(self.optimizer.parameters, loss, n_own)
        elif not n_own:  # none of its images can be read
            return loss
        self.optimizer.step()
        return loss

    memory: Memory | None = None
    """Its own input buffers, if it has any: batches written there need no copy."""

    def close(self) -> None:
        """Free buffers after the last step."""
        if isinstance(self.optimizer, Adam):
            self.optimizer.part()
        self.network.zero_grad(set_to_none=True)

    @abstractmethod
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        """Compute the objective of a batch, and overwrite each parameter's `grad`."""


class Eager(Engine):
    """Autograd, for any network, objective and precision."""

    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        is_mixed = self.dtype != torch.float32
        with torch.autocast(inputs.device.type, self.dtype, enabled=is_mixed, cache_enabled=False):  # graphs allow no cache
            output = output_of(self.network, self.objective, inputs)
        loss = self.objective(output.as_float() if is_mixed else output, targets)
        self.network.zero_grad(set_to_none=False)  # reused memory costs no page faults
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        return loss.detach() if loss.device.type == "cuda" else loss.item()


def output_of(network: Network, objective: Objective, inputs: Tensor) -> Output:
    """The forward pass, with all that penalties may read."""
    if objective.differentiates:
        inputs = inputs.detach().requires_grad_()
    output: Output = network(inputs)
    if not objective.penalties:
        return output
    weights = tuple(parameter for parameter in network.parameters() if parameter.ndim > 1)
    return output._replace(inputs=inputs, weights=weights)


class Dense(Engine):
    """Recorded calls in preallocated buffers, for fully connected layers under the mean squared error.

    Most of an eager step on a small batch is overhead: autograd builds and frees a graph, and every result allocates memory.
    This engine records the calls of a step once for each batch size, and replays them.
    """

    def __init__(self, run: Run, objective: Objective, layers: list[Layer], widths: list[int]) -> None:
        super().__init__(run, objective)
        self.layers, self.widths = layers, widths
        self._buffers: dict[tuple[int, int], Buffers] = {}
        self._steps: dict[int, _Step] = {}  # by id of their inputs, which they keep alive
        self._scratch: list[list[Tensor]] = []
        """For batches outside `memory`: inputs, targets, and each layer's outputs and gradients."""
        self._copied: dict[int, _Step] = {}  # by batch size
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.begin()  # tensors made in inference mode could not be used outside
        if isinstance(self.optimizer, Adam):
            self.optimizer.join()

    @classmethod
    def of(cls, run: Run, objective: Objective) -> Dense | None:
        """The engine for the run's network and `objective`; None if it does not support them."""
        network, is_plain = run.network, objective.loss is LOSSES["mse"] and not objective.penalties
        if not is_plain or run.precision != "float32" or not is_encoder_then_decoder(network):
            return None
        layers = layers_of(network.encoder, network.decoder) or []
        weights = [layer.weight for layer in layers if layer.weight is not None]
        if not layers or len(weights) < len(layers):
            return None
        widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
        parameters = list(network.parameters())  # each once, so that shared weights fail the count below
        is_supported = all(
            parameter.requires_grad and not getattr(parameter, _PARAMETER_HOOKS, True) for parameter in parameters
        )
        is_supported &= all(layer.activation is None or _is_invertible(layer.activation) for layer in layers)
        is_supported &= 2 * len(layers) == len(parameters) and widths[0] == widths[-1]
        return cls(run, objective, layers, widths) if is_supported else None

    @torch.inference_mode()
    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        return super().step(inputs, targets)

    @torch.inference_mode()  # less overhead per call than no_grad
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        step = self._steps.get(id(inputs))
        if step is None or step.inputs is not inputs or step.targets is not targets:
            step = self._copy_step(len(inputs))
            step.inputs.copy_(inputs.reshape(step.inputs.shape))
            step.targets.copy_(targets.reshape(step.targets.shape))
        for call in step.calls:
            call()
        return float(step.norms.square().sum()) * step.targets.numel() / 4  # the gradients are 2 / numel · error

    def memory(self, batch_size: int, n_batches: int) -> Buffers:
        if (batch_size, n_batches) not in self._buffers:
            with torch.inference_mode(False):  # callers write to these
                both = [
                    torch.empty(n_batches * batch_size, width, dtype=torch.float32)
                    for width in (self.widths[0], self.widths[-1])
                ]
                batches = list(zip(*(torch.split(part, batch_size) for part in both), strict=True))
            with torch.inference_mode():
                outputs, gradients = (self._layer_buffers(batch_size) for _ in range(2))
                for inputs, targets in batches:
                    self._steps[id(inputs)] = self._record(inputs, targets, outputs, gradients)
            self._buffers[batch_size, n_batches] = Buffers(both[0], both[1], batches)
        return self._buffers[batch_size, n_batches]

    def _layer_buffers(self, batch_size: int) -> list[Tensor]:
        return [torch.empty(batch_size, width, dtype=torch.float32) for width in self.widths[1:]]

    def _copy_step(self, size: int) -> _Step:
        """A step that reads a copy of the batch. All batch sizes share the buffers of the largest."""
        if size not in self._copied:
            capacity = len(self._scratch[0][0]) if self._scratch else 0
            if size > capacity or len(self._copied) >= _MOST_SIZES:
                self._copied.clear()
                capacity = max(capacity, size)
                ends = ([torch.empty(capacity, width, dtype=torch.float32)] for width in (self.widths[0], self.widths[-1]))
                self._scratch = [*ends, self._layer_buffers(capacity), self._layer_buffers(capacity)]
            (inputs,), (targets,), outputs, gradients = ([tensor[:size] for tensor in part] for part in self._scratch)
            self._copied[size] = self._record(inputs, targets, outputs, gradients)
        return self._copied[size]

    def _record(self, inputs: Tensor, targets: Tensor, outputs: list[Tensor], gradients: list[Tensor]) -> _Step:
        """The calls of a step that reads `inputs` and `targets`, with `outputs` and `gradients` as buffers of each layer."""
        layer_inputs = [inputs, *outputs]
        calls = [call for i, layer in enumerate(self.layers) for call in layer.forward(layer_inputs[i], outputs[i])]
        norms = torch.empty(len(inputs), dtype=torch.float32)
        loss_backward = torch.ops.aten.mse_loss_backward.grad_input
        calls.append(
            partial(loss_backward, torch.ones((), dtype=torch.float32), outputs[-1], targets, _MEAN, grad_input=gradients[-1])
        )
        # Sample by sample: the bits of one sum over all would depend on the number of threads.
        calls.append(partial(torch.linalg.vector_norm, gradients[-1], 2, 1, out=norms))
        for i, layer in reversed(list(enumerate(self.layers))):
            calls += layer.backward(layer_inputs[i], outputs[i], gradients[i], gradients[i - 1] if i else None)
        return _Step(inputs, targets, norms, calls)


def _is_invertible(activation: nn.LeakyReLU | nn.Sigmoid) -> bool:
    """Whether the gradient follows from the output: a negative slope maps two inputs to one output."""
    return not isinstance(activation, nn.LeakyReLU) or activation.negative_slope >= 0


_PARAMETER_HOOKS = "_backward_hooks"
"""Private attribute of torch. If it is missing, hooks cannot be ruled out and autograd takes the step."""
_MEAN = 1  # torch's number for this reduction
_MOST_SIZES = 256  # batch sizes whose calls are kept


class _Step(NamedTuple):
    inputs: Tensor
    targets: Tensor
    norms: Tensor
    """Of the gradient of each output."""
    calls: list[Call]


class Captured(Engine):
    """The eager step as a CUDA graph, one for each batch size: one launch for some hundred kernels.

    The first steps run eagerly and allocate what a graph needs: gradients, moments and workspaces of libraries. Whatever
    changes between steps (batch, learning rate, loss) stays at a fixed address.
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
        )  # a float would be recorded as a constant

    def step(self, inputs: Tensor, targets: Tensor) -> Loss:
        self.count = size = len(inputs)
        if not size:
            return 0.0
        self._n_seen[size] += 1
        if self._n_seen[size] <= self.N_EAGER or (len(self._graphs) >= self.MOST_GRAPHS and size not in self._graphs):
            return self._on_stream(lambda: self.eager.step(inputs, targets))
        if size not in self._graphs:
            self._graphs[size] = self._capture(inputs.clone(), targets.clone())
        graph = self._graphs[size]
        graph.inputs.copy_(inputs)
        graph.targets.copy_(targets)
        graph.replay()
        return graph.loss.clone()  # the next step overwrites it

    def backpropagate(self, inputs: Tensor, targets: Tensor) -> Loss:
        return self.eager.backpropagate(inputs, targets)

    def close(self) -> None:
        super().close()
        self._graphs.clear()
        self.optimizer.rate = float(self.optimizer.rate)

    def _capture(self, inputs: Tensor, targets: Tensor) -> _Graph:
        """Record a step that reads these tensors, without taking it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            loss = self.eager.step(inputs, targets)
        assert isinstance(loss, Tensor)
        return _Graph(inputs, targets, loss, graph.replay)

    def _on_stream(self, step: Callable[[], Loss]) -> Loss:
        """Run `step` on the stream of the graphs, which then owns the memory that it allocates."""
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
    """The fastest engine that supports the run's network and `objective`.

    The user's own modules and penalties run eagerly, as they may read values, which a graph cannot record. So do several
    processes, which synchronise between gradients and step.
    """
    processes = run.processes
    if processes.size > 1 and processes.is_first and objective.compares_batch:
        words = "a penalty compares the images of a batch; each process compares only those of its share."
        note(words)
    if run.device.type == "cuda" and processes.size == 1:
        is_ours = not isinstance(run.network, Pair) and {type(penalty) for penalty in objective.penalties} <= set(
            PENALTIES.values()
        )
        return Captured(run, objective) if is_ours else Eager(run, objective)
    return Dense.of(run, objective) or Eager(run, objective)
