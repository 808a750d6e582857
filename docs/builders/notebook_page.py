"""A notebook as a page: its texts, its code, and the outputs that are stored in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent.parent / "tutorial.ipynb"
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)


def notebook(path: Path = NOTEBOOK) -> str:
    """Return a notebook as Markdown, a table as HTML and a picture within the text."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _write_cell(cell))


def _write_cell(cell: Mapping[str, Any]) -> Iterator[str]:
    source = _join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield _fence(source, "python")
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        if "text/html" in data:
            page = _STYLE.sub("", _join(data["text/html"]))
            yield '<div class="output">' + "".join(map(str.strip, page.splitlines())) + "</div>"
        elif "image/png" in data:
            picture = _join(data["image/png"]).replace("\n", "")
            yield f'<img alt="the figure that the cell draws" src="data:image/png;base64,{picture}">'
        else:
            yield _fence(_join(data["text/plain"]).rstrip(), "text")


def _fence(text: str, kind: str) -> str:
    """Return text as a block of code.

    >>> print(_fence("1 + 1", "python"))
    ```python
    1 + 1
    ```
    """
    return f"```{kind}\n{text}\n```"


def _join(lines: str | Sequence[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
