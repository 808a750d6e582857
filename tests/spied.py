"""What spies keep of what they are asked, where no run looks for changes.

Class attributes and globals of a method's module count as its state: a method that keeps there what it is asked fails.
"""

from __future__ import annotations

from typing import Any

ASKED: list[Any] = []
CLOCK = 0.0
