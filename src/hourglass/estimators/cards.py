"""What the card of each estimator says, by its name in saved models."""

from __future__ import annotations

from hourglass.trained import Words

WORDS = {
    "autoencoder": Words(
        "Encodes samples in few numbers, and decodes them again.",
        "codes = model.transform(samples)",
        ["feature-extraction", "representation-learning"],
        "image-feature-extraction",
        ["Codes are good for what survives in them: detail that costs little error is left out."],
    ),
    "denoiser": Words(
        "Removes noise from images of the kind that it was trained on.",
        "clean = model.transform(noisy)",
        ["denoising", "image-restoration"],
        "image-to-image",
        [
            "It removes the noise of its setting `corruption`, or of the pairs that it learned from; other noise less, or not.",
            "What it puts in the place of noise is likely, not measured: it can smooth away what is rare, such as a fault.",
        ],
    ),
    "detector": Words(
        "Says which samples are unlike the normal ones that it was trained on, and where.",
        "verdicts = model.predict(samples)  # -1 for anomalies",
        ["anomaly-detection"],
        "",
        [
            "It knows what is normal and nothing of faults: one that looks like the normal variation is missed.",
            "Its threshold is for samples like those in training; when camera, light or parts change, set it anew.",
        ],
    ),
    "generator": Words(
        "Draws new images like those that it was trained on.",
        "images = model.sample(16, random_state=0)",
        ["image-generation"],
        "unconditional-image-generation",
        [
            "Its images are smoother than real ones, and none of them was ever measured: they are no data to test on.",
            "It repeats what its data were like, with their gaps and their bias.",
        ],
    ),
    "retriever": Words(
        "Finds the most similar among the images in its index.",
        "distances, rows = model.kneighbors(images, 10); ids = model.ids_[rows]",
        ["image-retrieval", "image-similarity"],
        "image-feature-extraction",
        [
            "Near are images that look alike under the changes that it was trained to ignore; it knows nothing of meaning.",
            "Its files hold the code, the id (often a path) and the label of each image in the index.",
        ],
    ),
    "compressor": Words(
        "Compresses images to few bytes, which it needs to be decompressed.",
        "blob = model.compress(images); images = model.decompress(blob)",
        ["image-compression"],
        "",
        [
            "Only this model, weight by weight, reads what it has compressed: keep it as long as the files.",
            "It loses detail. What it decodes is likely, not measured: do not compress so what evidence depends on.",
        ],
    ),
    "enhancer": Words(
        "Enlarges images of the kind that it was trained on.",
        "large = model.transform(small)",
        ["super-resolution"],
        "image-to-image",
        [
            "It undoes the loss of its setting `reduction`; images that were made small in another way come out less sharp.",
            "Detail that it adds is likely, not measured.",
        ],
    ),
}
