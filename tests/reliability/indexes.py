"""Saved indexes that are almost right: manifest and segments, changed under checksums that fit."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

import hourglass as hg
from hourglass.data.segments import MANIFEST
from hourglass.latent.inverted_file import InvertedFile
from hourglass.trained.files import CONFIG

MutateJson = Callable[[Any, random.Random], Any]
MutateArray = Callable[[np.ndarray, random.Random], np.ndarray]


def signed(manifest: Any) -> str:
    """An index.json as the library writes it, with a checksum that fits."""
    if not isinstance(manifest, dict):
        return json.dumps(manifest)
    content = {key: manifest[key] for key in ("owner", "counter", "segments") if key in manifest}
    return json.dumps({**content, "sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}) + "\n"


def models(folder: Path) -> list[Path]:
    """Saved retrievers whose index has two segments, one with lists if faiss is there."""
    digits = hg.load("digits").train
    paths = []
    for backend in ("exact", *(["ivfpq"] if importlib.util.find_spec("faiss") else [])):
        path = folder / f"{backend}.hg"
        with unittest.mock.patch.object(InvertedFile, "FEWEST", 300):
            ids = [f"{row}.png" for row in range(400)]
            model = hg.Retriever(3, backend=backend, epochs=1, random_state=0).fit(
                digits.images[:400], digits.known_labels[:400], ids=ids
            )
            model.save(path)
            model.remove(["3.png"]).add(digits.images[400:403], digits.known_labels[400:403], ids=["x", "y", "z"]).save(path)
        paths.append(path)
    return paths


def formats(folder: Path, mutate_json: MutateJson, mutate_array: MutateArray, sign: Callable[[Any], str]) -> dict[str, Any]:
    """The format and what makes and reads it; a content is JSON of the files, their bytes in Latin-1."""
    known = models(folder)

    def mutated(chance: random.Random) -> bytes:
        files = {file.name: file.read_bytes() for file in chance.choice(known).iterdir()}
        manifest = json.loads(files[MANIFEST])
        kind = chance.random()
        if kind < 0.4:
            manifest = mutate_json({key: manifest[key] for key in ("counter", "segments")}, chance) | {
                "owner": manifest["owner"]
            }
        elif kind < 0.5:
            config = json.loads(files[CONFIG])
            files[CONFIG] = sign(config | {"parameters": mutate_json(config["parameters"], chance)}).encode()
            manifest["owner"] = json.loads(files[CONFIG])["sha256"]
        else:
            line = chance.choice(manifest["segments"])
            name = f"index-{line[0]:06}.safetensors"
            arrays = dict(load(files[name]))
            one = chance.choice(sorted(arrays))
            if chance.random() < 0.2:
                arrays.pop(one)
            else:
                arrays[one] = mutate_array(arrays[one], chance)
            files[name] = save(arrays)
            line[3:] = [len(files[name]), hashlib.sha256(files[name]).hexdigest()]
            if "codes" in arrays and arrays["codes"].ndim:
                line[1] = len(arrays["codes"])
        files[MANIFEST] = signed(manifest).encode()
        return json.dumps({name: content.decode("latin-1") for name, content in files.items()}).encode()

    def read(content: bytes) -> object:
        path = folder / "mutated.hg"
        path.mkdir(exist_ok=True)
        for file in path.iterdir():
            file.unlink()
        for name, text in json.loads(content).items():
            (path / name).write_bytes(text.encode("latin-1"))
        model = hg.load_model(path)
        model.kneighbors(np.zeros((1, 8, 8), np.uint8), 1)
        return model.duplicates()

    return {"index": (mutated, read)}
