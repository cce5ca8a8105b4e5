"""Unit cost on the client's machine, list prices of APIs, and the volume from which owning is cheaper.

Read ``prices.yaml`` first: every number that is not measured stands there, with its source and date.
"""

from delivery.costs.estimates import Tokens, estimate
from delivery.costs.prices import PriceBook, load_price_book

__all__ = ["PriceBook", "Tokens", "estimate", "load_price_book"]
