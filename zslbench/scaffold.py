"""`new_method`: write a package for a method of one's own: class, entry point, and a test of the contract."""

from __future__ import annotations

import dataclasses
import importlib.resources
import importlib.util
import keyword
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import zslbench
from zslbench.errors import BadValue, StoreError, UnknownName
from zslbench.registry import METHODS

TEMPLATES: Mapping[str, str] = {"closed-form": "closed_form.py.jinja", "torch": "torch.py.jinja"}
"""What the class starts as: a solution in closed form with NumPy, or a network trained with torch."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*")


@dataclasses.dataclass(frozen=True)
class Made:
    """A package that `new_method` wrote.

    Attributes:
        folder: where it is.
        files: its files.
        module: the name of the package, which is also the registered name.
        cls: the name of the class.
    """

    folder: Path
    files: tuple[Path, ...]
    module: str
    cls: str

    @property
    def target(self) -> str:
        """The text that names the class before the package is installed; it works in the package's folder."""
        return f"{self.module}.method:{self.cls}"


def new_method(name: str, template: str = "closed-form", output: Path | str | None = None) -> Made:
    """Write a package with a working example method that passes all checks; replace the example with your own method.

    Args:
        name: of the method, as ``my-method`` or ``MyMethod``; the names of the package and the class, and the
            registered name, are derived from it.
        template: ``closed-form`` or ``torch``.
        output: the folder to make; None: a folder with the package's name in the current folder.

    Raises:
        BadValue: a name that Python does not allow or that is taken, or a folder that is not empty.
        UnknownName: no such template.
        StoreError: the folder cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    if template not in TEMPLATES:
        raise UnknownName("template", template, TEMPLATES)
    module, cls = _name_package(name)
    folder = Path(output) if output is not None else Path(module)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadValue(f"{folder} is there already and not empty; name another folder with --output.")
    words = {
        "module": module,
        "cls": cls,
        "title": cls,
        "distribution": module.replace("_", "-"),
        "torch": template == "torch",
        "zslbench": zslbench.__version__,
    }
    sources = {
        "pyproject.toml": "pyproject.toml.jinja",
        "README.md": "README.md.jinja",
        f"{module}/__init__.py": "package.py.jinja",
        f"{module}/method.py": TEMPLATES[template],
        "tests/test_contract.py": "test_contract.py.jinja",
    }
    templates = importlib.resources.files("zslbench") / "templates" / "method"
    # Python and TOML are written, not HTML: nothing is escaped, and the names were checked.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    is_new = not folder.exists()
    try:
        for place, source in sources.items():
            text = environment.from_string(templates.joinpath(source).read_text(encoding="utf-8")).render(words)
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text, encoding="utf-8")
    except OSError as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"cannot write {folder} ({error.strerror}); name another folder with --output.") from None
    return Made(folder, tuple(folder / place for place in sources), module, cls)


def _name_package(name: str) -> tuple[str, str]:
    """Return the names of module and class for a method's name.

    Raises:
        BadValue: Python does not allow the name, or it is taken.
    """
    if not _NAME.fullmatch(name) or not name.isascii():
        raise BadValue(
            f"{name!r} cannot name a method; take letters and digits, words parted by - or _, as in my-method."
        )
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", name)
    module = "_".join(words).lower()
    cls = "".join(word[0].upper() + word[1:] for word in words)
    if keyword.iskeyword(module) or keyword.iskeyword(cls):
        raise BadValue(f"{name!r} is a word of Python's own; take another name, as in my-{name}.")
    if module in METHODS.entries:
        raise BadValue(f"there is a method {module!r} already; take another name, as in my-{name}.")
    if module == "tests" or importlib.util.find_spec(module) is not None:
        raise BadValue(f"Python has a module {module!r} already; take another name, as in my-{name}.")
    return module, cls
