"""Settings of this machine, from ``DELIVERY_*`` variables and ``.env``; never read at import."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import platformdirs
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from delivery.errors import ConfigError


class Settings(BaseSettings):
    """Where things lie on this machine. Every field has a default that needs no service."""

    model_config = SettingsConfigDict(env_prefix="DELIVERY_", env_file=".env", extra="ignore", frozen=True)

    workspace: Path | None = None
    cache: Path = Field(default_factory=lambda: platformdirs.user_cache_path("model-delivery"))
    database_url: str | None = None
    mlflow_tracking_uri: str | None = None
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_API_KEY", "DELIVERY_OPENAI_API_KEY")
    )
    openai_base_url: str = Field(
        default="https://api.openai.com/v1", validation_alias=AliasChoices("OPENAI_BASE_URL", "DELIVERY_OPENAI_BASE_URL")
    )
    judge_model: str = Field(default="", description="the model that judges where no rule can; asked with OPENAI_API_KEY")
    judge_base_url: str = Field(default="", description="where the judge is; OPENAI_BASE_URL by default")
    offline: bool = Field(default=False, description="ask no endpoint outside this machine; stored answers only")
    threads: int | None = Field(default=None, ge=1, description="CPU threads for training and serving; all cores by default")
    processes: int = Field(default=1, ge=1, description="training processes on this machine, one for each device (--nproc)")
    sharded: bool = Field(default=False, description="divide the base's weights over the training processes (FSDP2)")
    nodes: int = Field(default=1, ge=1, description="machines that train together; the workspace is on storage that all share")
    rendezvous: str = Field(default="", description="host:port on the first of them where they meet")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()


class Workspace:
    """The folder that holds ``clients/`` and, under ``.delivery/``, everything that the line writes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def clients(self) -> Path:
        """One folder per client, written by people."""
        return self.root / "clients"

    @property
    def evals(self) -> Path:
        """One folder per suite of the workspace's own; those that ship lie elsewhere."""
        return self.root / "evals"

    @property
    def pools(self) -> Path:
        """The machines that the user can train on beside those that ship in the catalog; may not be there."""
        return self.root / "pools.yaml"

    @property
    def state(self) -> Path:
        """Everything that the line wrote; deleting it is a clean start."""
        return self.root / ".delivery"

    @property
    def artifacts(self) -> Path:
        """Results of the stages, by client, stage and the hash of their inputs."""
        return self.state / "artifacts"

    def client_key(self, client: str) -> Path:
        """The file of the key under which a client's identifiers are redacted; it lies apart from the rows."""
        return self.state / "keys" / f"{client}.key"

    def vault(self, client: str) -> Path:
        """What the placeholders in a client's rows stand for, sealed with that key."""
        return self.state / "vaults" / f"{client}.jsonl"

    def reports(self, client: str, delivery_id: str) -> Path:
        """Where the report of one delivery lies."""
        return self.state / "reports" / client / delivery_id

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of our own database, the truth about every delivery."""
        return get_settings().database_url or f"sqlite:///{self.state / 'delivery.db'}"

    @property
    def mlflow_tracking_uri(self) -> str:
        """Where model versions are registered."""
        return get_settings().mlflow_tracking_uri or f"sqlite:///{self.state / 'mlflow.db'}"


def find_workspace(start: Path | None = None) -> Workspace:
    """The workspace: ``DELIVERY_WORKSPACE``, or the nearest folder from ``start`` upward that holds ``clients/``.

    Raises:
        ConfigError: when there is none.
    """
    configured = get_settings().workspace
    if configured is not None:
        if not (configured / "clients").is_dir():
            raise ConfigError(f"DELIVERY_WORKSPACE={configured} holds no folder clients/: create it, or unset the variable")
        return Workspace(configured.resolve())
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "clients").is_dir():
            return Workspace(folder)
    raise ConfigError(
        f"no workspace: neither {here} nor a folder above it holds clients/; run 'delivery client new SLUG' here to start one"
    )


def bundled(*parts: str) -> Path:
    """A file or folder that ships with the package (client template, demo client, suites).

    In a wheel they lie inside the package, in a checkout at the root of the repository.
    """
    package = Path(__file__).parent
    inside = package / "_bundled"
    return (inside if inside.is_dir() else package.parent).joinpath(*parts)
