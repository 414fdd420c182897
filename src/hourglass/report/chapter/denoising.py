"""Section 4: the chapter's denoiser, compared with the same network under the default preset."""

from __future__ import annotations

from hourglass.evaluation import cells
from hourglass.report.chapter.laboratory import PRESET_NAMES, Findings, Laboratory, Topic
from hourglass.report.figures import image_rows, learning_curves
from hourglass.report.sections import Picture, Table

_CLAIM = """Given noisy images as inputs and the clean ones as targets, an autoencoder learns to remove the noise: the code \
has no room for it. The chapter adds noise from N(0.5, 0.4²) to digits, clamps to 0..1, and trains a network of \
784-128-64-32 and back for five epochs in batches of 32, with Adam and the mean squared error."""

_EXAMPLE = """import hourglass as hg

mnist = hg.load("mnist")
noise = hg.GaussianNoise(mean=0.5, std=0.4)
chapter = hg.Denoiser(preset="chapter", corruption=noise, random_state=0).fit(mnist.train.images)
better = hg.Denoiser(corruption=noise, random_state=0).fit(mnist.train.images)  # the same network, trained well
noisy = noise(mnist.test.images, 1)
for model in (chapter, better):
    print(-model.score(noisy, mnist.test.images))  # mean squared error
"""


def _experiment(lab: Laboratory) -> Findings:
    comparison, models = lab.denoising
    rows = {row["name"]: row for row in comparison.rows}
    captions = {name: f"MSE {row['mse']:.4f}, {row['psnr']:.1f} dB" for name, row in rows.items()}
    linear = {f"{name}, test": row["mse"] for name, row in rows.items() if "linear" in name}
    histories = {preset: model.history_ for preset, model in models.items()}
    headings, body = cells([{**row, "bar": None} for row in comparison.rows])
    return Findings(
        run=(
            f'The chapter\'s training exactly (`preset="chapter"`): a fixed noisy copy of the {len(lab.dataset.train):,} '
            "training images, torch's default initialisation, a constant learning rate. Then the same network with new noise "
            "in every batch, centred initialisation, the optimiser Muon and a decaying learning rate "
            '(`preset="default"`). Both are evaluated on the test images with one draw of noise. The baselines are the noisy '
            "images, a median filter, and the best linear map from noisy to clean images (exact ridge regression)."
        )
        + "".join(f" {note}" for note in comparison.notes),
        shown=[
            Picture("denoising", image_rows(comparison.images, captions), "Test images: original, noisy, and denoised."),
            Table("Denoising the test images.", headings, body),
            Picture("denoising-curve", learning_curves(histories, linear), "Error over the epochs of both trainings."),
        ],
        meaning=_meaning({name: row["mse"] for name, row in rows.items()}),
        numbers={"rows": comparison.rows},
    )


def _meaning(errors: dict[str, float]) -> str:
    chapter, default = (errors[PRESET_NAMES[preset]] for preset in ("chapter", "default"))
    text = (
        f"The noisy images have a mean squared error of {errors['noisy input']:.4f}. The chapter's training reduces it to "
        f"{chapter:.4f}, the default preset to {default:.4f}. "
    )
    linear = next((error for name, error in errors.items() if "linear" in name), None)
    if linear is None:
        return text
    verdicts = [
        f"the {name} training is {'better' if error < linear else 'worse'}"
        for name, error in (("chapter's", chapter), ("default", default))
    ]
    return text + (
        "The linear map is the baseline for both, as it has a closed form and nothing to tune. Its error is "
        f"{linear:.4f}; {' and '.join(verdicts)}. A picture that looks clean proves little: only the comparison shows "
        "whether a nonlinear network is worth training."
    )


DENOISING = Topic("denoising", "Denoising", _CLAIM, _EXAMPLE, _experiment)
