"""Networks with a rate: variational ones, and one whose codes are rounded to integers.

All are fully connected, draw noise in training only, and return `Output.rate` in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.networks.base import Network
from hourglass.networks.dense import mlp_decoder, mlp_encoder
from hourglass.objectives import Output


class Variational(Network):
    """A variational autoencoder: a code is a Gaussian, the prior N(0, I) (Kingma and Welling 2014; Rezende et al. 2014).

    `encoder` returns the mean as the code; training decodes a sample of the Gaussian. The rate is its KL divergence from
    the prior: ½ Σ(μ² + σ² - 1 - log σ²). Without the penalty `Rate` the variance would vanish.
    """

    default_hidden = (512, 256)
    is_separable = False
    has_rate = True
    draws = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.encoder = Posterior(mlp_encoder(shape, 2 * n_components, hidden), n_components)
        self.decoder = mlp_decoder(shape, n_components, hidden, bounded)

    def forward(self, samples: Tensor) -> Output:
        means, log_variances = self.encoder.posterior(samples)
        rate = 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(1)
        drawn = means + torch.randn_like(means) * (0.5 * log_variances).exp() if self.training else means
        return Output(self.decoder(drawn), means, rate)

    encoder: Posterior


class Posterior(nn.Module):
    def __init__(self, body: nn.Module, n_components: int) -> None:
        super().__init__()
        self.body, self.n_components = body, n_components

    def forward(self, samples: Tensor) -> Tensor:
        return self.posterior(samples)[0]

    def posterior(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(means, log variances), each (n, n_components); variances start at e⁻² and stay between e⁻¹⁴ and e¹⁰."""
        means, log_variances = self.body(samples).split(self.n_components, dim=1)
        return means, (log_variances - 2).clamp(-14, 10)


class _MLPWithRate(Network):
    """Fully connected layers, as in MLP, for networks with a rate."""

    is_separable = False
    has_rate = True
    draws = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.encoder = mlp_encoder(shape, n_components, hidden)
        self.decoder = mlp_decoder(shape, n_components, hidden, bounded)

    encoder: nn.Sequential


class Noisy(_MLPWithRate):
    """A variational autoencoder whose noise is the same for every code, N(0, I): constant variance (Ghosh et al. 2020).

    Training decodes y + noise; the rate ½ Σ y² keeps codes no farther apart than the noise requires. The latent space is
    smooth, and images are generated from a density fitted to the codes after training.
    """

    default_hidden = (512, 256)

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__(shape, n_components, hidden, bounded)
        *_, last = (layer for layer in self.decoder.modules() if isinstance(layer, nn.Linear))
        with torch.no_grad():  # few images do not outweigh random weights, which would show as noise in samples
            last.weight.mul_(0.01)

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        drawn = codes + torch.randn_like(codes) if self.training else codes
        return Output(self.decoder(drawn), codes, 0.5 * codes.square().sum(1))


class Quantised(_MLPWithRate):
    """An autoencoder whose codes are rounded to integers and entropy-coded (Ballé et al. 2017, 2018).

    Training adds noise from U(-½, ½) in place of rounding; in evaluation codes are rounded before decoding. The entropy
    model `density` has a mixture of three logistics for each latent dimension; the rate is its negative log-likelihood.
    """

    default_hidden = (768, 384)

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__(shape, n_components, hidden, bounded)
        self.density = _LogisticMixture(n_components)
        with torch.no_grad():  # spread initial codes over a few integers; otherwise all would round to 0
            last = self.encoder[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(8)

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        coarse = codes + torch.rand_like(codes) - 0.5 if self.training else codes.round()
        return Output(self.decoder(coarse), codes, -self.density(coarse).sum(1))


class _LogisticMixture(nn.Module):
    """Log-probability of the unit interval around each value, in nats: (n, d) -> (n, d)."""

    def __init__(self, n_components: int, n_logistics: int = 3) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_logistics, n_components))
        self.means = nn.Parameter(torch.linspace(-2, 2, n_logistics)[:, None].repeat(1, n_components))
        self.log_scales = nn.Parameter(torch.full((n_logistics, n_components), 0.5))

    def forward(self, codes: Tensor) -> Tensor:
        scales = self.log_scales.clamp(-5, 10).exp()
        distances = -(
            codes[:, None] - self.means
        ).abs()  # by symmetry; keeps both sigmoids away from 1, where float32 is coarse
        upper, lower = (torch.sigmoid((distances + half) / scales) for half in (0.5, -0.5))
        probabilities = (F.softmax(self.weights, dim=0) * (upper - lower)).sum(1)
        return probabilities.clamp(min=1e-9).log()
