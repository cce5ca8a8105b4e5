"""The dated catalog of machines that training could run on: what each can do, and what it costs by the hour."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from delivery.artifacts import Machine
from delivery.client_config import SLUG
from delivery.costs.prices import PriceBook, Usd
from delivery.documents import Section, describe, read_yaml
from delivery.errors import ConfigError

BUNDLED_POOLS = Path(__file__).with_name("pools.yaml")
LOCAL = "local"
"""The name of this machine among the pools."""


class Pool(Section):
    """One kind of machine, whole: ``devices`` of one kind, each with its memory and its matrix rate in bfloat16."""

    device: Literal["cpu", "cuda"]
    devices: int = Field(default=1, ge=1)
    threads: int = Field(ge=1)
    memory_gib: float = Field(gt=0)
    matrix_tflops: float = Field(gt=0)
    preemptible: bool
    hourly_usd: Usd | None = None
    """None where the price book has the machine under the pool's name."""
    source: str = Field(min_length=1)
    dated: date

    @property
    def machine(self) -> Machine:
        """What a plan counts with."""
        return Machine(
            device=self.device,
            threads=self.threads,
            memory_bytes=int(self.memory_gib * 2**30),
            bf16=True,
            matrix_flops=self.matrix_tflops * 1e12,
            devices=self.devices,
        )

    def hourly(self, name: str, book: PriceBook) -> Decimal:
        """US dollars an hour of the whole machine: its own price, else the price book's.

        Raises:
            ConfigError: neither knows one.
        """
        if self.hourly_usd is not None:
            return self.hourly_usd
        if name not in book.hardware:
            raise ConfigError(
                f"pools: {name}: hourly_usd: is missing, and the price book of {book.as_of} has no machine of that name"
            )
        return book.hourly_usd(name)


class PoolCatalog(Section):
    """Pools by name, as of a day."""

    version: Literal[1]
    as_of: date
    pools: dict[str, Pool]


def load_pools(own: Path | None = None) -> dict[str, Pool]:
    """The pools that ship with the package, and those of a file of the user's own, which replace others of their name.

    Raises:
        ConfigError: a file is not YAML, or a key is wrong; names the file and the key's path.
    """
    pools = _read(BUNDLED_POOLS)
    return pools | _read(own) if own is not None and own.is_file() else pools


def _read(path: Path) -> dict[str, Pool]:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold version, as_of and pools; start from a copy of {BUNDLED_POOLS}")
    try:
        pools = PoolCatalog.model_validate(document).pools
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    for name in pools:
        if name == LOCAL or not SLUG.fullmatch(name):
            raise ConfigError(
                f"{path}: pools.{name}: a name has lower-case letters, digits and hyphens, and {LOCAL} is this machine"
            )
    return pools
