"""Model folders on the Hugging Face Hub, or on a server that speaks its language."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hourglass._version import __version__
from hourglass.data.segments import MANIFEST
from hourglass.errors import DownloadError, ParameterError

FILES = ("README.md", "config.json", "model.safetensors", MANIFEST, "index-*.safetensors")
"""What a model folder holds: nothing else is sent or fetched."""


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Send a model folder to a repository, which is created if there is none; return the commit's address.

    Raises
    ------
    ParameterError, DownloadError
        As `ImageEstimator.push_to_hub`.
    """
    huggingface_hub = _library()
    with _told(repo_id):
        api = huggingface_hub.HfApi(endpoint=endpoint, token=token, library_name="hourglass", library_version=__version__)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        stale = [pattern for pattern in FILES if pattern.startswith("index")]  # segments that the index no longer has
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=message,
            revision=revision,
            allow_patterns=list(FILES),
            delete_patterns=stale,
        )
        return str(commit.commit_url)


def download(repo_id: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None) -> Path:
    """Fetch a model folder from a repository into the hub's cache, or find it there; return its path.

    Raises
    ------
    ParameterError, DownloadError
        As `from_pretrained`.
    """
    huggingface_hub = _library()
    with _told(repo_id):
        return Path(
            huggingface_hub.snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                endpoint=endpoint,
                allow_patterns=list(FILES),
                library_name="hourglass",
                library_version=__version__,
            )
        )


def _library() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ParameterError('the hub needs huggingface_hub: pip install "hourglass-autoencoders[hub]".') from error
    return huggingface_hub


@contextlib.contextmanager
def _told(repo_id: str) -> Iterator[None]:
    """Raise the library's errors as ours, in one line."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # type: ignore[attr-defined, unused-ignore]

    try:
        yield
    except HFValidationError as error:
        raise ParameterError(f"{repo_id!r} names no repository ({_line(error)}); allowed: user/name.") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        words = "check the name, the network and the access token (hf auth login, or HF_TOKEN)"
        raise DownloadError(f"{repo_id}: {_line(error)} {words}.") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{text[:300]};"
