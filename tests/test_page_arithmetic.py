"""The explorer's page runs a network for itself: what its JavaScript makes of steps and weights is what torch makes."""

from __future__ import annotations

import itertools
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable, Sequence
from gzip import decompress
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hourglass as hg
from conftest import NODE
from hourglass.corruption import seeded
from hourglass.data import Split
from hourglass.networks import COMPOSED, NETWORKS, build
from hourglass.networks.convolutional import Enlarging
from hourglass.networks.description import Step, steps_of
from hourglass.networks.stochastic import Posterior
from hourglass.web import Scene, export_page
from hourglass.web.app import STATIC
from hourglass.web.packing import network, pack

pytestmark = pytest.mark.node

_RUN = """
import { readFileSync, writeSync } from "node:fs";
import { Network } from "./network.js";
import { unpack } from "./packing.js";

const given = readFileSync(0);
for (let at = 0; at < given.length; ) {
  const size = given.readUInt32LE(at);
  const { facts, arrays } = unpack(Uint8Array.from(given.subarray(at + 4, at + 4 + size)).buffer);
  const network = new Network(facts.network, arrays);
  const before = arrays.inputs.slice();
  const made = network.run(arrays.inputs);
  if (made.length % network.outputSize) throw new Error("not whole samples");
  if (before.some((value, i) => value !== arrays.inputs[i])) throw new Error("the inputs have changed");
  const head = Uint32Array.of(4 * made.length, 4 * network.outputShape.length);
  for (const part of [head, made, Int32Array.from(network.outputShape)]) {
    const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
  }
  at += 4 + size;
}
"""

Case = tuple[bytes, Tensor]
"""(what the page is given, what it should make of it)"""
By = Callable[[Sequence[bytes]], list[np.ndarray]]
Kind = TypeVar("Kind", bound=nn.Module)


@pytest.fixture(scope="module")
def by_page(tmp_path_factory: pytest.TempPathFactory) -> By:
    """What the page's own modules make of each packed network and its inputs: float32 (n, *shape)."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("network.js", "packing.js"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    (folder / "run.js").write_text(_RUN)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(given: Sequence[bytes]) -> list[np.ndarray]:
        content = b"".join(len(one).to_bytes(4, "little") + one for one in given)
        assert NODE is not None
        done = subprocess.run([NODE, "run.js"], cwd=folder, input=content, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found, at = [], 0
        while at < len(done.stdout):
            n_values, n_axes = (np.frombuffer(done.stdout, "<u4", 2, at) // 4).tolist()
            values = np.frombuffer(done.stdout, "<f4", n_values, at + 8)
            shape = np.frombuffer(done.stdout, "<i4", n_axes, at + 8 + 4 * n_values)
            found.append(values.reshape(-1, *shape))
            at += 8 + 4 * (n_values + n_axes)
        assert len(found) == len(given)
        return found

    return run


def case(module: nn.Module, inputs: Tensor) -> Case:
    steps = steps_of(module)
    assert steps is not None
    facts, arrays = network("network", inputs.shape[1:], steps)
    with torch.inference_mode():
        return pack(facts, arrays | {"inputs": inputs.numpy()}), module.eval()(inputs)


def check(by_page: By, cases: Sequence[Case]) -> None:
    for number, (made, (_, wanted)) in enumerate(zip(by_page([given for given, _ in cases]), cases, strict=True)):
        assert made.shape == wanted.shape, number
        np.testing.assert_allclose(made, wanted.numpy(), rtol=1e-5, atol=1e-5, err_msg=f"case {number}")


def shaken(module: Kind, seed: int) -> Kind:
    """With weights as training leaves them: biases that are not near 0."""
    chance = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).uniform_(-1, 1, generator=chance))
    return module


SHAPES = [(1, 1, 1), (1, 8, 8), (1, 28, 28), (2, 5, 16), (3, 13, 11), (4, 2, 9)]


@pytest.mark.parametrize(
    "name", [name for name, kind in (NETWORKS | COMPOSED).items() if not (kind.bypasses_code or kind.takes_any_size)]
)
def test_every_network_decodes_and_encodes_in_the_page_as_in_torch(name: str, by_page: By) -> None:
    cases, chance = [], seeded(0)
    for number, (shape, bounded, n_components) in enumerate(itertools.product(SHAPES, (True, False), (1, 7))):
        torch.manual_seed(number)
        hidden = ((), (6,), (9, 5), None)[number % 4]
        made = shaken(build(name, shape, n_components, hidden, bounded), number)
        n = 1 + number % 6  # four samples are multiplied together, the rest one by one
        cases.append(case(made.encoder, torch.rand(n, *shape, generator=chance)))
        cases.append(case(made.decoder, 3 * torch.randn(n, n_components, generator=chance)))
    assert len({given for given, _ in cases}) == len(cases)
    check(by_page, cases)


def test_layers_of_the_users_own_are_run_as_in_torch(by_page: By) -> None:
    torch.manual_seed(0)
    convolutions = [
        nn.Conv2d(2, 3, kernel, stride, padding, bias=bias)
        for kernel, stride, padding, bias in itertools.product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (True, False))
    ]
    enlarging = [Enlarging(2, 3, size) for size in ((18, 14), (17, 13), (18, 13))]
    without_bias = Enlarging(2, 3, (18, 14))
    without_bias.bias = None
    flat = [
        nn.Linear(11, 3),
        nn.Linear(11, 4, bias=False),
        nn.Sequential(nn.Unflatten(1, (11, 1, 1)), nn.Conv2d(11, 2, 1), nn.Flatten(), nn.Linear(2, 5)),
        nn.Sequential(nn.Sequential(nn.Linear(11, 12), nn.Dropout(0.5), nn.Identity()), nn.Unflatten(1, (3, 2, 2))),
        Posterior(nn.Linear(11, 8), 4),
    ]
    of_images = [
        nn.Linear(7, 4),  # along the last axis, as of a signal in every row
        nn.Sequential(nn.Linear(7, 4), nn.Flatten(), nn.Linear(72, 3)),
        nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Flatten(), nn.Linear(126, 2)),
        nn.Unflatten(1, (2, 1)),
        nn.Flatten(),
    ]
    given: list[tuple[nn.Module, tuple[int, ...]]]
    given = [(module, (5, 2, 9, 7)) for module in (*convolutions, *enlarging, without_bias, *of_images)]
    given += [(module, (6, 11)) for module in flat]
    check(by_page, [case(shaken(module, 0), torch.randn(shape)) for module, shape in given])


@pytest.mark.parametrize(
    "activation",
    [*(nn.LeakyReLU(slope) for slope in (0.01, 0.3, -0.2, 0.0)), nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()],
    ids=str,
)
def test_every_activation_is_torchs_from_end_to_end(activation: nn.Module, by_page: By) -> None:
    sizes = torch.cat([torch.linspace(-20, 20, 2001), torch.tensor([0.0, 1e-30, 1e-7, 88.0, 104.0, 800.0, 1e6, 3e38])])
    values = torch.cat([sizes, -sizes])
    check(by_page, [case(activation, values[:, None]), case(activation, values.reshape(2, 1, 7, 287))])


def test_affine_steps_scale_and_shift(by_page: By) -> None:
    inputs = torch.linspace(-3, 3, 12).view(4, 3)
    facts, arrays = network("network", (3,), [Step("affine", {"scale": -2.5, "offset": 0.75}), Step("relu")])
    check(by_page, [(pack(facts, arrays | {"inputs": inputs.numpy()}), (-2.5 * inputs + 0.75).relu())])


def test_the_exported_page_brings_networks_that_are_the_models(by_page: By, colours: np.ndarray, tmp_path: Path) -> None:
    """Encoder, decoder, and the learned map of the codes, from the file as it is written."""
    from test_web import unpacked

    model = hg.Autoencoder(4, network="conv", hidden=(4, 6), epochs=1, random_state=0).fit(colours)
    export_page(Scene(model, Split(colours), "colours"), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    inside = re.search(r'<script type="text/plain" id="data">([^<]*)</script>', text)
    assert inside is not None
    facts, arrays = unpacked(decompress(b64decode(inside[1])))

    def made_of(name: str, inputs: np.ndarray) -> np.ndarray:
        own = {key: array for key, array in arrays.items() if key.startswith(f"{name}.")}
        (values,) = by_page([pack({"network": facts[name]}, own | {"inputs": inputs.astype(np.float32)})])
        return values

    images = arrays["images"]
    codes = made_of("encoder", images.transpose(0, 3, 1, 2) / np.float32(255))
    np.testing.assert_allclose(codes, model.encode(images), rtol=1e-5, atol=1e-5)
    decoded = made_of("decoder", arrays["codes"]).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(decoded, model.inverse_transform(arrays["codes"]), rtol=1e-5, atol=1e-5)
    places = made_of("map_encoder", arrays["codes"])
    np.testing.assert_allclose(places, arrays["positions"], rtol=1e-5, atol=1e-5)
    back = made_of("map_decoder", arrays["positions"])
    assert back.shape == arrays["codes"].shape
    assert np.square(back - arrays["codes"]).mean() < 0.5 * arrays["codes"].var(0).mean()  # in the units of the codes
