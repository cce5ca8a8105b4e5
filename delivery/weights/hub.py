"""Base models from a Hugging Face hub: safetensors, configuration and tokenizer, nothing that runs."""

from __future__ import annotations

from pathlib import Path

from delivery.artifacts import BaseModel, OnProgress, Progress
from delivery.errors import ConfigError, RetryableError
from delivery.weights.folder import describe_base

_WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "README.md"]


def download(name: str, *, cache: Path, on_progress: OnProgress) -> BaseModel:
    """The snapshot of a hub id (``org/name`` or ``org/name@revision``), kept under ``cache/hub``.

    Raises:
        ConfigError: the hub knows no such model or revision, or it needs an access token.
        RetryableError: the hub does not answer and the model is not in the cache.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    on_progress(Progress(0, 1, "model", f"downloading {name}"))
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            cache_dir=cache / "hub",
            allow_patterns=_WANTED,
            ignore_patterns=["*/*"],
        )
    except GatedRepoError as error:
        raise ConfigError(f"base_model: {name} needs an accepted licence and HF_TOKEN in the environment") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ConfigError(f"base_model: the hub knows no model or revision {name}: correct it in client.yaml") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError) as error:
        raise RetryableError(f"base_model: the hub did not answer for {name}: check the network or name a folder") from error
    except OSError as error:
        raise ConfigError(f"{cache / 'hub'}: cannot be written ({error.strerror or error}); set DELIVERY_CACHE") from error
    on_progress(Progress(1, 1, "model", name))
    # The snapshot's folder is named by its commit, which is what was really read.
    return describe_base(Path(folder), name=name, source=f"hub:{repository}@{Path(folder).name}")
