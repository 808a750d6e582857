"""``python -m zslbench.pages FOLDER``: write the pages of the methods."""

from __future__ import annotations

import sys
from pathlib import Path

from zslbench.pages.methods import write

for one in write(Path(sys.argv[1])):
    print(one)
