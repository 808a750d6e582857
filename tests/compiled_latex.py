"""Documents compiled by pdflatex."""

from __future__ import annotations

import subprocess
from pathlib import Path


def compiled(pdflatex: str, folder: Path, text: str, name: str = "page") -> str:
    """Compile a document and return its log, lines joined; errors fail."""
    (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    words = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False, timeout=120)
    log = (folder / f"{name}.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-3000:]
    assert (folder / f"{name}.pdf").stat().st_size
    return log
