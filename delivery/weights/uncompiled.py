"""bitsandbytes, and peft, which imports it, without torch's compiler: imported before anything else that imports them.

bitsandbytes wraps four of its fallbacks in ``torch.compile`` as it is imported, which loads the whole compiler: some two of
the seven seconds that the engines take to import. Where compiling fails they run as they are, and so they do now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch


def _as_it_is(function: Callable[..., Any] | None = None, **_: Any) -> Callable[..., Any]:
    return function if function is not None else _as_it_is


with patch.object(torch, "compile", _as_it_is):
    import bitsandbytes as bitsandbytes
    from peft import PeftModel as PeftModel
