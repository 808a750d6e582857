"""The source files that a method is made of: found, read and hashed as data. Nothing is imported here.

A record keeps the digest of its method's source and the names of the modules that entered it, so that a reader of the
record can tell whether any of these files has changed since, without running code for a name that it was given.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zslbench.registry import METHODS

PACKAGE = "zslbench"
METHODS_PACKAGE = f"{PACKAGE}.methods"
MOST_FILES = 1000
MOST_BYTES = 16 * 2**20
_MAIN = "__main__"
_SITE_FOLDERS = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_HERE = Path(__file__).parent
_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_DEPENDENCIES = {"matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "torchvision"}
"""Nobody's own project, even where one of them is installed from a checkout, which would be thousands of files."""

State = Literal["current", "changed", "unknown"]


@dataclasses.dataclass(frozen=True)
class MethodSource:
    """The source of one method.

    Attributes:
        digest: 16 hex digits; empty where a class has no source text (it was made by ``exec``, say), so that nothing
            can tell whether it has changed.
        files: path of each module that entered, relative to the working folder; empty for modules of zslbench, and for
            those outside the working folder, which are found by their name.
        edited: files that have changed since this process imported them; the digest is of what was imported.
        of_user: whether it is a method of the user's own project, not one that came with an installed package.
    """

    digest: str
    files: Mapping[str, str]
    edited: tuple[Path, ...]
    of_user: bool


def source_of(cls: type) -> MethodSource:
    """Return the source that a class is made of, as this process imported it.

    It spans the modules of the class and of those it derives from, and what these import, at the top or inside
    functions, by ``import_module("name")`` too, as far as it belongs to the same project: whatever is not installed,
    wherever it lies and through links (of an installed package: the package alone), and ``zslbench.methods``. A class
    from a notebook cell has the text of its cell, that of the functions and the values of the constants that it uses
    from other cells. Of a minimal method, it is the class as its user wrote it that counts.
    """
    cls = vars(cls).get("written_as", cls)
    method = f"{METHODS_PACKAGE}.base", "Method"  # whose module may not be imported here
    bases = [cls for cls in cls.__mro__ if any((base.__module__, base.__name__) == method for base in cls.__mro__)]
    start = {cls.__module__, *(base.__module__ for base in bases)}
    texts: dict[str, bytes] = {}
    modules: set[str] = set()
    if cls.__module__ == _MAIN and not _in_script(cls):
        cells = _of_cells(cls)
        if cells is None:
            return MethodSource("", {}, (), of_user=True)
        texts, used = cells
        start -= {_MAIN}
        anywhere = Path(Path.cwd().anchor)
        modules = _closure({name for name in used if _belongs(name, _MAIN, anywhere)}, _MAIN, anywhere)
    for name in start:
        modules |= _project_modules(name)
    paths = {name: _file(name) for name in sorted(modules)}
    contents = {name: _imported_bytes(name) for name in modules}
    here = Path.cwd().resolve()
    files = {
        name: path.relative_to(here).as_posix() if path and not _is_zslbench(name) and path.is_relative_to(here) else ""
        for name, path in paths.items()
    }
    return MethodSource(
        digest=_digest(contents | texts),
        files=dict.fromkeys(sorted(texts), "") | files,
        edited=tuple(path for name, path in paths.items() if path and path.read_bytes() != contents[name]),
        of_user=not _is_zslbench(cls.__module__) and not ((path := _file(cls.__module__)) and _is_installed(path)),
    )


def note_source(cls: type) -> None:
    """Read the source of a user's class now, so that what changes while a study runs is not taken for what runs."""
    known = _imported.get(cls.__module__)
    if not _is_zslbench(cls.__module__) and (known is None or known[0] is not _mark(cls.__module__)):
        source_of(cls)


@functools.lru_cache(256)
def project_modules(module: str) -> frozenset[str]:
    """Return the modules of the same project that a module needs, itself included, loaded or not."""
    return frozenset(_project_modules(module))


def is_here(module: str) -> bool:
    """Return whether a module is loaded, or lies where Python would look for it."""
    return module in sys.modules or _searched(module) is not None


def advise_on_folder(module: str) -> str:
    """Return what to do about a module of the user's own that is not here.

    >>> advise_on_folder("mine.models")
    'type the command in the folder of mine/models.py'
    """
    return f"type the command in the folder of {module.replace('.', '/')}.py"


class SourceCheck:
    """Compares the sources that records name with the files as they are now; each set of files is read once."""

    def __init__(self) -> None:
        self._digests: dict[str, str | None] = {}

    def state(self, method: str, provenance: Mapping[str, Any]) -> State:
        """Return whether the source of a record's method is what it was: ``unknown`` where its files are not here.

        Args:
            method: the name in the record.
            provenance: of the record. It may hold anything: paths out of the working folder, and whatever is no
                regular file, are not read.
        """
        recorded = provenance.get("method_source")
        if not isinstance(recorded, str):
            return "current"  # written before digests were kept, or by another program
        if not recorded:
            return "changed"  # its class had no source text, so nothing can tell that it is the same
        files: Any = provenance.get("method_files")
        module, _, name = method.partition(":")
        cls: Any = vars(sys.modules[_MAIN]).get(name) if module == _MAIN else None
        in_session = isinstance(cls, type) and not _in_script(cls)
        if not in_session and (not isinstance(files, dict) or not files):
            entry = METHODS.entries.get(method)
            if entry is None or entry.origin != PACKAGE:
                return "unknown"
            files = dict.fromkeys(_builtin_modules(entry.target.partition(":")[0]), "")
        key = method if in_session else repr(sorted(files.items(), key=repr))
        if key not in self._digests:
            self._digests[key] = source_of(cls).digest if in_session else _digest_now(files)
        now = self._digests[key]
        return "unknown" if now is None else "current" if now == recorded else "changed"


def _digest_now(files: Mapping[Any, Any]) -> str | None:
    """Return the digest of files as they are now; None where none of the project's is here, or one that lay outside the
    working folder is not found: where Python looks for it may have been changed by the method's own code."""
    if len(files) > MOST_FILES or not all(isinstance(text, str) for text in (*files, *files.values())):
        return None
    contents = {name: _read_recorded(name, relative) for name, relative in files.items()}
    project = [name for name in files if not _is_zslbench(name)]
    lacking = [name for name in project if contents[name] is None]
    if lacking and (lacking == project or not all(files[name] for name in lacking)):
        return None
    return _digest({name: content or b"" for name, content in contents.items()})


def _read_recorded(module: str, relative: str) -> bytes | None:
    """Return the source of a module that a record names: below the working folder, or where Python looks for it."""
    path = None if module == _MAIN else _searched(module)
    if relative:
        here = Path.cwd().resolve()
        with contextlib.suppress(OSError, ValueError):
            below = (here / relative).resolve()
            if not Path(relative).is_absolute() and below.is_relative_to(here) and below.is_file():
                path = below
    with contextlib.suppress(OSError):
        if path is not None and path.is_file() and path.stat().st_size <= MOST_BYTES:
            return path.read_bytes()
    return None


def _digest(contents: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(name.encode() + b"\0" + contents[name])
    return total.hexdigest()[:16]


@functools.cache  # an installed zslbench gets no new files while it runs
def _builtin_modules(module: str) -> set[str]:
    return _closure({module}, module, None)


def _project_modules(module: str) -> set[str]:
    if _is_zslbench(module):
        return _builtin_modules(module)
    path = _file(module)
    depth = 0 if path is None or module == _MAIN else module.count(".") + (path.name == "__init__.py")
    return _closure({module}, module, None if path is None else path.parents[depth])  # of the top-level module


def _closure(start: Iterable[str], subject: str, root: Path | None) -> set[str]:
    """Return the modules of the project that `start` needs, itself included."""
    modules: set[str] = set()
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        modules.add(name)
        path = _file(name)
        package = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
        needed = (_imports(_imported_bytes(name), package) | set(_with_parents(name))) - seen
        seen |= needed
        waiting += [other for other in needed if _belongs(other, subject, root)]
    return modules


def _belongs(module: str, subject: str, root: Path | None) -> bool:
    """Return whether a module is of the project whose subject is a method's module."""
    if _is_zslbench(module):
        return module.startswith(f"{METHODS_PACKAGE}.") and _file(module) is not None
    if _is_zslbench(subject) or root is None:
        return module == subject
    path = _file(module)
    if path is None or _is_installed(root):
        return path is not None and _top(module) == _top(subject)
    return not _is_installed(path) and _top(module) not in _DEPENDENCIES


def _is_zslbench(module: str) -> bool:
    return _top(module) == PACKAGE


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_installed(path: Path) -> bool:
    return not _SITE_FOLDERS.isdisjoint(path.parts) or path.is_relative_to(_LIBRARY)


def _file(module: str) -> Path | None:
    """Return the file of a module, loaded or not."""
    if _is_zslbench(module):
        return _built_in(module)
    origin = getattr(sys.modules.get(module), "__file__", None)
    path = Path(origin).resolve() if isinstance(origin, str) else None if module in sys.modules else _searched(module)
    return path if path and path.is_file() and (path.suffix == ".py" or module == _MAIN) else None


def _searched(module: str) -> Path | None:
    """Return where Python would find a module. Its own finder would import the packages that the module lies in.

    Paths are text: a digest asks this thousands of times, and making a `Path` takes longer than asking the disk.
    """
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    folders = [str(_HERE.parent)] if parts[0] == PACKAGE else [entry or "." for entry in (*sys.path, "")]
    path: str | None = None
    for part in parts:
        path, spaces = None, []
        for folder in folders:
            below = f"{folder}/{part}"
            is_folder = os.path.isdir(below)  # noqa: PTH112
            files = (f"{below}/__init__.py", f"{below}.py") if is_folder else (f"{below}.py",)
            path = next(filter(os.path.isfile, files), None)
            if path:
                spaces = [below]
                break
            if is_folder:  # a part of a namespace package, unless another folder has the file
                spaces.append(below)
        folders = spaces
    return None if path is None else Path(path).resolve()


_built_in = functools.cache(_searched)
_imported: dict[str, tuple[object, bytes]] = {}


def _imported_bytes(module: str) -> bytes:
    """Return the source of a module as this process imported it; a reload gives it a new spec, so it is read again.

    A module that is not loaded (it is imported inside a function) is read as it is now.
    """
    path = _file(module)
    if path is None:
        return b""
    if sys.modules.get(module) is None:
        return path.read_bytes()
    mark = _mark(module)
    known = _imported.get(module)
    if known is None or known[0] is not mark:
        _imported[module] = known = mark, path.read_bytes()
    return known[1]


def _mark(module: str) -> object:
    """Return what another import or reload of a module replaces."""
    loaded = sys.modules.get(module)
    return getattr(loaded, "__spec__", None) or loaded


@functools.lru_cache(256)
def _imports(source: bytes, package: str) -> frozenset[str]:
    """Return the absolute names that a text imports, and the packages that they lie in.

    It does so by a statement, or by a call of ``import_module("name")``.
    """
    nodes: list[ast.AST] = []
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):
        nodes = list(ast.walk(ast.parse(source)))
    names: set[str] = set()
    for node in nodes:
        with contextlib.suppress(ImportError):  # from above the top
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                function, name = getattr(node.func, "attr", getattr(node.func, "id", "")), node.args[0].value
                if function in ("import_module", "__import__") and isinstance(name, str) and name:
                    names.add(importlib.util.resolve_name(name, package))
    return frozenset(part for name in names for part in _with_parents(name))


def _with_parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _in_script(cls: type) -> bool:
    """Return whether a class of ``__main__`` was read from the script that this process runs."""
    script, functions = getattr(sys.modules[_MAIN], "__file__", None), _functions(cls)
    files = {str(Path(function.__code__.co_filename).absolute()) for function in functions}
    return isinstance(script, str) and (not functions or str(Path(script).absolute()) in files)


def _functions(value: object) -> list[types.FunctionType]:
    """Return the functions that a class defines itself, or the one that is given."""
    if isinstance(value, types.FunctionType):
        return [value]
    members = [getattr(member, "__func__", getattr(member, "fget", member)) for member in vars(value).values()]
    functions = [member for member in members if isinstance(member, types.FunctionType)]
    # What dataclasses write for a class has no text of its own; it follows from the fields.
    return [
        function
        for function in functions
        if not (function.__name__.startswith("__") and function.__code__.co_filename == "<string>")
    ]


def _of_cells(cls: type) -> tuple[dict[str, bytes], set[str]] | None:
    """Return the texts that a class from a notebook rests on, and the modules that it uses; None without a text."""
    cells: set[str] = set()
    values: dict[str, str] = {}
    modules: set[str] = set()
    waiting: list[Any] = [base for base in cls.__mro__ if base.__module__ == _MAIN]
    done: set[int] = set()
    while waiting:
        subject = waiting.pop()
        if id(subject) in done:
            continue
        done.add(id(subject))
        functions = _functions(subject)
        texts = ["".join(linecache.getlines(function.__code__.co_filename)) for function in functions]
        if not texts or not all(texts):
            return None
        cells |= set(texts)
        for name, value in _globals_used(functions):
            if isinstance(value, types.ModuleType):
                modules.add(value.__name__)
            elif not isinstance(value, type | types.FunctionType):
                if (written := _write_constant(value)) is not None:
                    values[name] = written
            elif value.__module__ == _MAIN:
                waiting.append(value)
            else:
                modules.add(str(value.__module__))
    for text in cells:
        modules |= _imports(text.encode(), "")
    contents = {f"{_MAIN}#{number}": text.encode() for number, text in enumerate(sorted(cells))}
    if values:
        contents[f"{_MAIN}#values"] = repr(sorted(values.items())).encode()
    return contents, modules


def _globals_used(functions: Iterable[types.FunctionType]) -> Iterator[tuple[str, object]]:
    for function in functions:
        codes = [function.__code__]
        while codes:
            code = codes.pop()
            codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
            for name in code.co_names:
                if name in function.__globals__:
                    yield name, function.__globals__[name]


def _write_constant(value: object) -> str | None:
    """Return a constant as text; None for what is none."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, (*_PLAIN, np.generic)):
        return repr(value)
    if isinstance(value, tuple | list | set | frozenset | dict):
        parts = [_write_constant(item) for item in (value.items() if isinstance(value, dict) else value)]
        in_order = parts if isinstance(value, tuple | list) else sorted(map(str, parts))
        return None if None in parts else f"{type(value).__name__}{in_order}"
    return None
