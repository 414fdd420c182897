"""Section 4: the chapter's denoiser, and the same network trained well."""

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
            f'The chapter\'s run to the letter (`preset="chapter"`): a fixed noisy copy of the {len(lab.dataset.train):,} '
            "training images, torch's own first weights, a constant rate. Then the same network with fresh noise in every "
            'batch, centred first weights, the optimiser Muon and a falling rate (`preset="default"`). Both are measured '
            "on the test images under one draw of noise, beside the noise itself, a median filter, and the best linear map "
            "from noisy to clean images (ridge regression, solved exactly)."
        )
        + "".join(f" {note}" for note in comparison.notes),
        shown=[
            Picture("denoising", image_rows(comparison.images, captions), "Test images: original, noisy, and cleaned."),
            Table("Denoising the test images.", headings, body),
            Picture("denoising-curve", learning_curves(histories, linear), "Error over the epochs of both trainings."),
        ],
        meaning=_meaning({name: row["mse"] for name, row in rows.items()}),
        numbers={"rows": comparison.rows},
    )


def _meaning(errors: dict[str, float]) -> str:
    chapter, default = (errors[PRESET_NAMES[preset]] for preset in ("chapter", "default"))
    text = (
        f"Of the noisy images' squared error, {errors['noisy input']:.4f}, the chapter's training leaves {chapter:.4f}; the "
        f"same network, trained with more care, leaves {default:.4f}. "
    )
    linear = next((error for name, error in errors.items() if "linear" in name), None)
    if linear is None:
        return text
    verdicts = [
        f"the {name} training {'beats' if error < linear else 'loses to'} it"
        for name, error in (("chapter's", chapter), ("other", default))
    ]
    return text + (
        "The linear map is the measure of both, for it is solved at once and has nothing to tune: it leaves "
        f"{linear:.4f}; {' and '.join(verdicts)}. A picture that looks clean is no proof: only the comparison says "
        "whether a nonlinear network was worth its trouble."
    )


DENOISING = Topic("denoising", "Denoising", _CLAIM, _EXAMPLE, _experiment)
