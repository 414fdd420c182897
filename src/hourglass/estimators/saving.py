"""Saving of estimators, as a folder and to a hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hourglass.data import hub
from hourglass.data.segments import Log, Table
from hourglass.errors import ParameterError
from hourglass.estimators.cards import WORDS
from hourglass.images import Float32
from hourglass.trained import CARD, Face, Trained, licensed


class Saved(BaseEstimator):
    """Base of estimators that are saved: a `Trained` as `model_`, and what `_state` and `_grown` give beside it."""

    saved_as: ClassVar[str]
    """The name in `ESTIMATORS` and in saved models."""
    model_: Trained
    """Network, sample, settings and history: runs the model without this estimator."""
    n_features_in_: int

    def save(self, path: str | Path) -> None:
        """Write the fitted model as a folder: model.safetensors, config.json and README.md, its card.

        Replaces an existing model atomically; of a `Retriever` that was read from there or saved there, it writes what changed.

        Parameters
        ----------
        path : path
            The folder, by convention named *.hg.

        Raises
        ------
        NotFittedError, OSError
        FormatError
            If `path` exists and is not a model.
        ParameterError
            If a corruption, penalty or the estimator itself is your own class; if the path begins with ~ and a user that is not
            known.
        """
        self.model_.save(path, self._face())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,  # noqa: A002  # the hub's word
        private: bool | None = None,
        revision: str | None = None,
        message: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
    ) -> str:
        """Publish the fitted model in a repository of the Hugging Face Hub, or of a server like it.

        Creates the repository if there is none, and replaces the model in it, its card included, in one commit. Needs the extra
        `hourglass-autoencoders[hub]`. `hourglass.from_pretrained` loads it.

        Parameters
        ----------
        repo_id : str
            "user/name" or "organisation/name".
        license : str, optional
            The license under which you publish it, as the hub names it, such as "mit". By default the card has none.
        private : bool, optional
            Whether a new repository is private; by default as the account is set.
        revision : str, optional
            The branch to commit to; by default "main".
        message : str, optional
            The commit's message.
        token : str, optional
            An access token; by default that of `hf auth login` or the environment variable HF_TOKEN.
        endpoint : str, optional
            The server's address; by default the environment variable HF_ENDPOINT, or else https://huggingface.co.

        Returns
        -------
        str
            The commit's address.

        Raises
        ------
        NotFittedError
        ParameterError
            If the extra is missing, the name or license is not valid, or the model has classes of your own.
        DownloadError
            If the server cannot be reached or refuses.
        """
        face = self._face()
        if face.grown is not None:
            face = face._replace(grown=(Log(), face.grown[1]))  # a copy: what is saved elsewhere stays known
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "model.hg"
            self.model_.save(folder, face)
            text = (folder / CARD).read_text(encoding="utf-8")
            text = text.replace('hg.load_model("path/to/this/folder")', f'hg.from_pretrained("{repo_id}")')
            (folder / CARD).write_text(licensed(text, license), encoding="utf-8")
            message = message or f"{type(self).__name__}, by hourglass"
            return hub.upload(
                folder, repo_id, private=private, revision=revision, message=message, token=token, endpoint=endpoint
            )

    def _face(self) -> Face:
        """What is saved beside the trained model. Raises NotFittedError, ParameterError."""
        check_is_fitted(self)
        if "saved_as" not in vars(type(self)):
            raise ParameterError(
                f"{type(self).__name__} is a class of your own; only the library's classes can be loaded again."
            )
        names = getattr(self, "feature_names_in_", None)
        arguments = self.get_params(deep=False)
        state, grown, words = self._state(), self._grown(), WORDS[self.saved_as]
        return Face(self.saved_as, type(self).__name__, arguments, self.n_features_in_, names, state, grown, words)

    def _state(self) -> dict[str, Any]:
        """Numbers, strings and arrays to save beside the network, by name."""
        return {}

    def _grown(self) -> tuple[Log, Table] | None:
        """A table to save beside the network that only grows, and what is saved of it already."""
        return None

    def _restore(self, state: dict[str, Any]) -> None:
        """Restore from `_state`, and from `_grown` as "grown"."""

    def _try_out(self) -> None:
        """Run the estimator once, so that an invalid model fails in loading."""
        sample = self.model_.sample
        shape = (8, 8, *sample.shape[2:]) if sample.is_any_size else sample.shape
        names = self.__dict__.pop("feature_names_in_", None)  # which scikit-learn would miss in an array, with a warning
        self._use(np.zeros((1, *shape), dtype=np.float32))  # type: ignore[arg-type]  # height and width are known
        if names is not None:
            self.feature_names_in_ = names

    def _use(self, blank: Float32) -> None:
        """Run the estimator on one blank sample (1, *shape)."""
