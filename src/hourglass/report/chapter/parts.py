"""Section 1: the parts of an autoencoder."""

from __future__ import annotations

import math

from hourglass.networks import Network, build, describe
from hourglass.plot.structure import structure
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic
from hourglass.report.sections import Picture

_CLAIM = """An autoencoder is two networks in a row. The *encoder* makes a code y of the input x, the *decoder* makes an \
output z of the code, and training asks that z be like x. The code in the middle is the bottleneck: whatever the \
output is to know of the input has to pass through it. The two halves are often drawn as mirror images of each \
other; they need not be."""

_EXAMPLE = """import hourglass as hg
from hourglass.report import structure

mnist = hg.load("mnist")
ae = hg.Autoencoder(n_components=32, epochs=1, random_state=0).fit(mnist.train.images)
codes = ae.transform(mnist.test.images)  # x -> y: float32 (n, 32)
images = ae.inverse_transform(codes)  # y -> z: float32 (n, h, w) in 0..1
ae.encoder_, ae.decoder_  # torch modules, each usable alone
structure(ae.network_, ae.sample_.network_shape).savefig("structure.svg")

# halves that do not mirror each other: convolutions in, dense layers out
uneven = hg.Autoencoder(8, network=("conv", "mlp"), hidden=((8, 16), (64, 32)), epochs=1).fit(mnist.train.images[:500])
"""


def _experiment(lab: Laboratory) -> Findings:
    shape = lab.dataset.train.images.shape[1:]
    inner = (*(shape[2:] or (1,)), *shape[:2])
    mirrored = build("mlp", inner, 32, (128, 64))
    uneven = build(("conv", "mlp"), inner, 8, ((16, 32), (64, 128, 256)))
    values = math.prod(shape)
    weights = {"mirrored": _weights(mirrored), "uneven": _weights(uneven)}
    return Findings(
        run="Both drawings are made from network objects of this library: each layer, and the size of its output. "
        "`hourglass info MODEL --figure structure.svg` draws any saved model.",
        shown=[
            Picture("structure", structure(mirrored, inner), f"The chapter's network for images of {values} values."),
            Picture(
                "structure-uneven",
                structure(uneven, inner),
                "Encoder and decoder that do not mirror each other: convolutions to a code of 8 dimensions, dense layers back.",
            ),
        ],
        meaning=(
            f"An image of {values} values becomes a code of 32 dimensions{_fewer(values)}. The decoder has to add what such "
            f"images have in common, and that is in the {weights['mirrored']:,} weights. Each half is a network of its own: "
            "the encoder alone serves search and classification, the decoder alone generates. So the second network, with "
            f"{weights['uneven']:,} weights, is as much an autoencoder as the first."
        ),
        numbers={
            name: {"weights": weights[name], "layers": describe(network, inner)}
            for name, network in (("mirrored", mirrored), ("uneven", uneven))
        },
    )


def _fewer(values: int) -> str:
    return f", {values / 32:.1f} times fewer values" if values > 32 else ""


def _weights(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


PARTS = Topic("structure", "Encoder, bottleneck, decoder", _CLAIM, _EXAMPLE, _experiment)
