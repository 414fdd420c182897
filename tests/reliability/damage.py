"""Files that changed on the way: single bits of a model and of a .hgc file, anywhere in them."""

from __future__ import annotations

import random
from pathlib import Path

import hourglass as hg
from hourglass.trained.files import CONFIG, WEIGHTS


def flip_model(folder: Path, amount: int, seed: int) -> tuple[int, int]:
    """(bits that were flipped one at a time in a saved model, those that its loading noticed)"""
    path, chance = folder / "flipped.hg", random.Random(seed)
    hg.Autoencoder(4, hidden=(16,), epochs=1, random_state=0).fit(hg.load("digits").train.images[:64]).save(path)
    noticed = 0
    for number in range(amount):
        file = path / (WEIGHTS, CONFIG)[number % 2]
        whole = file.read_bytes()
        file.write_bytes(_flipped(whole, chance))
        try:
            hg.load_model(path)
        except hg.FormatError:
            noticed += 1
        file.write_bytes(whole)
    hg.load_model(path)  # which shows that it was the bits
    return amount, noticed


def flip_hgc(amount: int, seed: int) -> tuple[int, int]:
    """(bits that were flipped one at a time in a .hgc file, those that `decompress` noticed)"""
    images, chance = hg.load("digits").test.images[:100], random.Random(seed)
    compressor = hg.Compressor(4, hidden=(16,), epochs=1, random_state=0).fit(images)
    whole, noticed = compressor.compress(images), 0
    for _ in range(amount):
        try:
            compressor.decompress(_flipped(whole, chance))
        except hg.FormatError:
            noticed += 1
    assert len(compressor.decompress(whole)) == len(images)
    return amount, noticed


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
