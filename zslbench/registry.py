"""Registries of methods, data sets and protocols, which import a class only when it is asked for.

Built-ins are ``"module:Class"`` texts, so listing names imports nothing. Third parties add theirs by entry point
(groups ``zslbench.methods``, ``zslbench.datasets``, ``zslbench.protocols``), or a class is named directly as
``pkg.module:Class`` wherever a name is expected.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from zslbench.errors import BadSpec, Unavailable, UnknownName, nearest
from zslbench.visible import describe_exception


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered class: its name, where it is, and who provides it (``zslbench`` or a distribution)."""

    name: str
    target: str
    origin: str

    def load(self) -> type:
        """Import the class.

        Raises:
            Unavailable: the module or one of its dependencies is missing, or it has no such class.
        """
        module, _, attribute = self.target.partition(":")
        if self.name == self.target and "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # a class named directly may be in the working folder, as for python -m
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise Unavailable(self._describe_missing(module, error)) from error
        except (Exception, SystemExit) as error:  # a broken plugin must not break anything else
            why = describe_exception(error)
            if isinstance(error, SystemExit):
                why += "; a script that is also imported does its work below if __name__ == '__main__'"
            raise Unavailable(f"{self.name!r} is unavailable: importing {module} failed ({why}).") from error
        cls = getattr(imported, attribute, None)
        if not isinstance(cls, type):
            why = f"module {module} has no {attribute}" if cls is None else f"{self.target} is not a class"
            raise Unavailable(f"{self.name!r} is unavailable: {why}{_suggest_methods(imported)}.")
        return cls

    def _describe_missing(self, module: str, error: ModuleNotFoundError) -> str:
        """Return a sentence on a missing module, either the named one or one that it imports."""
        missing = error.name or ""
        if self.name != self.target or not f"{module}.".startswith(f"{missing}."):
            return f"{self.name!r} is unavailable: importing {module} failed ({error})."
        near = nearest(missing, [path.stem for path in Path.cwd().glob("*.py")])
        return (
            f"{self.name!r} is unavailable: no module {missing} here (looked in the current folder and installed "
            f"packages); type it in the folder of {missing.replace('.', '/')}.py"
            + (f", or did you mean {near!r}?" if near else ".")
        )


def _suggest_methods(module: types.ModuleType) -> str:
    """Return, as the end of a sentence, which classes of a module could be methods; empty if there are none."""
    names = [
        name
        for name, cls in vars(module).items()
        if isinstance(cls, type)
        and cls.__module__ == module.__name__
        and all(callable(getattr(cls, verb, None)) for verb in ("fit", "scores"))
    ]
    return f"; its classes with fit and scores: {', '.join(names)}" if names else ""


@functools.cache  # three registries ask, and the metadata of every distribution is read for it
def read_entry_points() -> Any:
    """Return the entry points of all installed distributions."""
    return importlib.metadata.entry_points()


class Registry:
    """Names of one kind of thing, each imported only when asked for."""

    def __init__(self, kind: str, group: str, builtins: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._builtins = builtins

    @functools.cached_property
    def entries(self) -> Mapping[str, Entry]:
        """Every entry by name; built-ins win over entry points of the same name."""
        plugins = {
            point.name: Entry(point.name, point.value, point.dist.name if point.dist else "unknown")
            for point in read_entry_points().select(group=self.group)
        }
        return plugins | {name: Entry(name, target, "zslbench") for name, target in self._builtins.items()}

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self.entries)

    def builtin_names(self) -> list[str]:
        """Return the names that come with zslbench, sorted."""
        return sorted(self._builtins)

    def __iter__(self) -> Iterator[Entry]:
        return (self.entries[name] for name in self.names())

    def entry(self, name: str) -> Entry:
        """Return the entry of a name or of a ``pkg.module:Class`` text.

        Raises:
            UnknownName: it is neither; the message offers the nearest registered name.
            BadSpec: parameters after a colon or in parentheses.
        """
        if ":" in name:
            for entry in self.entries.values():  # one thing has one name, however written
                if name == entry.target:
                    return entry
        settings = re.fullmatch(r"(\w+)[:(](.*=.*?)\)?", name)
        if settings and settings[1] in self.entries:
            right = f"{settings[1]}[{settings[2]}]"
            raise BadSpec(f"cannot read {name!r}: {settings[1]} takes parameters in brackets; write {right}.")
        if ":" in name:
            module, _, attribute = name.partition(":")
            if not (attribute and module) or module.endswith(".py") or re.search(r"[/\\]|^\.", module):
                file = PurePath(module.removesuffix(".py"))
                right = f"{file.name.lstrip('.') or 'pkg.module'}:{attribute or 'Class'}"
                where = f", in the folder of {file.name}.py" if len(file.parts) > 1 else ""
                raise BadSpec(f"{name!r} names no class; write {right}{where}.")
            return Entry(name, name, module.partition(".")[0])
        folded = {known.casefold(): entry for known, entry in self.entries.items()}
        named = self.entries.get(name) or self.entries.get(name.lower()) or folded.get(name.casefold())
        if named is None:
            advice = "" if nearest(name, self.entries) else "A class of your own is pkg.module:Class."
            raise UnknownName(self.kind, name, self.entries, advice)
        return named

    def load_recorded(self, name: str) -> type | None:
        """Return the class of a name from a record, without importing a module that the user did not import.

        Registered names are loaded, since their user installed them. Any other class is looked up among the modules
        that this process has already imported; None if it is not there.

        Raises:
            Unavailable: a registered class that cannot be imported.
        """
        if (entry := self.entries.get(name)) is not None:
            return entry.load()
        module, _, attribute = name.partition(":")
        loaded = sys.modules.get(module)  # None where an import was blocked; `getattr` might import what is lazy
        cls = vars(loaded).get(attribute) if isinstance(loaded, types.ModuleType) else None
        return cls if isinstance(cls, type) else None

    def load(self, name: str) -> type:
        """Import and return the class of `name`; raises as `Entry.load` and `entry`."""
        return self.entry(name).load()


METHODS = Registry(
    "method",
    "zslbench.methods",
    {
        "eszsl": "zslbench.methods.closed_form.eszsl:ESZSL",
        "sae": "zslbench.methods.closed_form.sae:SAE",
        "ridge": "zslbench.methods.closed_form.ridge:Ridge",
        "gfzsl": "zslbench.methods.closed_form.gfzsl:GFZSL",
        "prototype": "zslbench.methods.closed_form.prototype:Prototype",
        "direct": "zslbench.methods.closed_form.direct:Direct",
        "devise": "zslbench.methods.ranking.devise:DeViSE",
        "sje": "zslbench.methods.ranking.sje:SJE",
        "ale": "zslbench.methods.ranking.ale:ALE",
        "latem": "zslbench.methods.ranking.latem:LATEM",
        "fclswgan": "zslbench.methods.generative.fclswgan:FCLSWGAN",
        "lisgan": "zslbench.methods.generative.lisgan:LisGAN",
        "fvaegan": "zslbench.methods.generative.fvaegan:FVAEGAN",
        "tfvaegan": "zslbench.methods.generative.tfvaegan:TFVAEGAN",
        "bivaegan": "zslbench.methods.generative.bivaegan:BiVAEGAN",
        "dem": "zslbench.methods.networks.dem:DEM",
        "dap": "zslbench.methods.classifiers.dap:DAP",
        "conse": "zslbench.methods.classifiers.conse:CONSE",
        "sync": "zslbench.methods.classifiers.sync:SYNC",
        "sse": "zslbench.methods.classifiers.sse:SSE",
        "cadavae": "zslbench.methods.generative.cadavae:CADAVAE",
        "cnzsl": "zslbench.methods.networks.cnzsl:CNZSL",
        "free": "zslbench.methods.generative.free:FREE",
        "cegzsl": "zslbench.methods.generative.cegzsl:CEGZSL",
        "rff": "zslbench.methods.generative.rff:RFF",
        "cyclewgan": "zslbench.methods.generative.cyclewgan:CycleWGAN",
        "lsrgan": "zslbench.methods.generative.lsrgan:LsrGAN",
        "sdgzsl": "zslbench.methods.generative.sdgzsl:SDGZSL",
        "zla": "zslbench.methods.generative.zla:ZLA",
        "centres": "zslbench.methods.generative.centres:Centres",
        "gazsl": "zslbench.methods.generative.gazsl:GAZSL",
        "relationnet": "zslbench.methods.networks.relationnet:RelationNet",
        "cvc": "zslbench.methods.networks.cvc:CVC",
        "dcn": "zslbench.methods.networks.dcn:DCN",
    },
)
DATASETS = Registry(
    "dataset",
    "zslbench.datasets",
    {
        "apy": "zslbench.data.catalogue:APY",
        "awa1": "zslbench.data.catalogue:AWA1",
        "awa2": "zslbench.data.catalogue:AWA2",
        "cub": "zslbench.data.catalogue:CUB",
        "flo": "zslbench.data.catalogue:FLO",
        "sun": "zslbench.data.catalogue:SUN",
        "digits": "zslbench.data.builtin:Digits",
        "synthetic": "zslbench.data.builtin:Synthetic",
    },
)
PROTOCOLS = Registry(
    "protocol",
    "zslbench.protocols",
    {"zsl": "zslbench.protocols.zsl:ZSL", "gzsl": "zslbench.protocols.gzsl:GZSL"},
)
