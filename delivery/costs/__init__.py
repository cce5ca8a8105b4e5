"""Unit cost on the client's machine, list prices of APIs, and the volume from which owning is cheaper.

Read ``prices.yaml`` and ``pools.yaml`` first: every number that is not measured stands there, with its source and date.
"""

from delivery.costs.estimates import Tokens, estimate
from delivery.costs.pools import LOCAL, Pool, load_pools
from delivery.costs.prices import PriceBook, load_price_book, usd_of

__all__ = ["LOCAL", "Pool", "PriceBook", "Tokens", "estimate", "load_pools", "load_price_book", "usd_of"]
