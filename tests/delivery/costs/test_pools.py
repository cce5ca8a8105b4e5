"""The catalog of pools."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from delivery.costs import load_pools, load_price_book
from delivery.costs.prices import usd_of
from delivery.errors import ConfigError

OWN = """version: 1
as_of: 2026-11-01
pools:
  rack-a:
    device: cuda
    devices: 2
    threads: 32
    memory_gib: 44.5
    matrix_tflops: 200
    preemptible: true
    hourly_usd: 1.10
    source: our own contract
    dated: 2026-10-30
"""


def test_every_pool_that_ships_has_a_price_and_says_where_its_figures_are_from() -> None:
    book = load_price_book()
    pools = load_pools()
    assert {"gpu-l4", "gpu-h100", "cpu-8core"} <= set(pools)
    for name, pool in pools.items():
        assert pool.hourly(name, book) == book.hardware[name].hourly_usd
        assert len(pool.source) > 10
        assert pool.machine.memory_bytes == int(pool.memory_gib * 2**30)


def test_own_pools_stand_beside_those_that_ship(tmp_path: Path) -> None:
    (tmp_path / "pools.yaml").write_text(OWN)
    pools = load_pools(tmp_path / "pools.yaml")
    assert pools["rack-a"].hourly("rack-a", load_price_book()) == Decimal("1.10")
    assert (pools["rack-a"].machine.devices, pools["rack-a"].preemptible) == (2, True)
    assert "gpu-h100" in pools
    assert load_pools(tmp_path / "none.yaml") == load_pools()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (OWN.replace("memory_gib: 44.5", "memory_gib: none"), r"pools\.yaml: pools\.rack-a\.memory_gib"),
        (OWN.replace("rack-a", "local"), r"pools\.local: a name has .* local is this machine"),
        (OWN.replace("version: 1", "version: 2"), "version"),
        ("- a", "must hold version, as_of and pools"),
    ],
)
def test_a_wrong_catalog_is_refused_with_its_key(wrong: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pools.yaml").write_text(wrong)
    with pytest.raises(ConfigError, match=said):
        load_pools(tmp_path / "pools.yaml")


def test_a_pool_without_a_price_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pools.yaml").write_text(OWN.replace("    hourly_usd: 1.10\n", ""))
    with pytest.raises(ConfigError, match="rack-a: hourly_usd: is missing"):
        load_pools(tmp_path / "pools.yaml")["rack-a"].hourly("rack-a", load_price_book())


def test_money_is_exact() -> None:
    assert usd_of(Decimal("0.11592"), 3600.0) == Decimal("0.1159")
    assert usd_of(Decimal("6.88"), 90.5) == Decimal("0.1730")
