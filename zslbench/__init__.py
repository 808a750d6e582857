"""zslbench: a benchmark harness for zero-shot learning.

Every verb of the command line is a function here: `run`, `table`, `list_names`, `info`, `doctor`, and those of
`zslbench.data`. They are imported on first use, so ``import zslbench`` is instant.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_VERBS: dict[str, str] = {}
