"""A network whose code says of each place of an image which visual words it is like."""

from __future__ import annotations

from torch import Tensor, nn

from hourglass.networks.base import Network
from hourglass.networks.code import Code
from hourglass.networks.maps import Patches
from hourglass.objectives import Output

WIDTH = 64
N_WORDS = 512


class Words(Network):
    """`Patches` with 64 channels, and each place softly assigned to visual words; for images of any height and width.

    Codes are maps with a channel for each word; at each place they sum to 1. There are 512 words, or as many as `n_components`
    if that is more. The vector of an image is its histogram of words, with square roots, so that rare words count (Arandjelović
    and Zisserman 2012). Fewer `n_components` are a linear map of it. Images are decoded from the mean features of the words.

    The preset "photo-features" trains the patches first, then finds the words (`estimators/vocabulary.py`).
    """

    default_hidden = Patches.default_hidden
    is_local = True
    is_separable = False
    takes_any_size = True

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        patches, n_words = Patches(shape, WIDTH, hidden, bounded), max(N_WORDS, n_components)
        self.code, self.margin = Code(n_words, patches.code.stride), patches.margin
        self.encoder = nn.Sequential(patches.encoder, nn.Conv2d(WIDTH, n_words, 1), nn.Softmax(1))
        self.decoder = nn.Sequential(nn.Conv2d(n_words, WIDTH, 1, bias=False), patches.decoder)
        self.reduction: nn.Module = nn.Linear(n_words, n_components) if n_components < n_words else nn.Identity()

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        height, width = samples.shape[-2:]
        return Output(self.decoder(codes)[..., :height, :width], codes)

    def head(self, means: Tensor) -> Tensor:
        vectors: Tensor = self.reduction(means.sqrt())
        return vectors
