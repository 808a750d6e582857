"""What spies keep of what they are asked, where no run looks for changes.

Class attributes and globals of the project's modules count as a method's state: a method that keeps there what it is
asked fails. What a logger holds is not looked at.
"""

from __future__ import annotations

import logging
from typing import Any

NOWHERE: Any = logging.getLogger("spied")
NOWHERE.asked = []
NOWHERE.clock = 0.0
