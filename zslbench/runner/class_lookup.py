"""The classes that names stand for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from zslbench.errors import BadValue, ZslbenchError
from zslbench.methods.base import Method, Setting
from zslbench.methods.minimal import as_method
from zslbench.protocols.protocol import Protocol
from zslbench.registry import METHODS, PROTOCOLS
from zslbench.sources import note_source
from zslbench.spec import parse


def method_class(name: str) -> type[Method]:
    """Return the class of a method by registered name or ``pkg.module:Class`` (ZslbenchError: there is no such)."""
    cls = METHODS.load(name)
    note_source(cls)
    return as_method(cls)


def recorded_method(name: str) -> type[Method] | None:
    """Return the class of a method that a record names, None where that needs an import (see `load_recorded`)."""
    cls = METHODS.load_recorded(name)
    return None if cls is None else as_method(cls)


def import_typed(methods: Iterable[str] = (), protocols: Iterable[str] = ()) -> None:
    """Import the classes that a user named for this command as ``pkg.module:Class``; what is not here is passed over.

    Records that name the same classes are then read with them; for any other name in a record nothing is imported.
    """
    for registry, texts in ((METHODS, methods), (PROTOCOLS, protocols)):
        for text in texts:
            with contextlib.suppress(ZslbenchError):
                if ":" in (name := parse(text).name):
                    registry.load(name)


def protocol_class(name: str) -> type[Protocol]:
    """Return the class of a protocol by registered name or ``pkg.module:Class`` (raises like `method_class`)."""
    return _check_protocol(PROTOCOLS.load(name), name)


def recorded_protocol(name: str) -> type[Protocol] | None:
    """Return the class of a protocol that a record names (see `recorded_method`)."""
    cls = PROTOCOLS.load_recorded(name)
    return None if cls is None else _check_protocol(cls, name)


def _check_protocol(cls: type, name: str) -> type[Protocol]:
    if not issubclass(cls, Protocol):
        raise BadValue(f"{name!r} is not a protocol; name a subclass of zslbench.protocols.Protocol.")
    return cls


def built(cls: type[Method], name: str, values: Mapping[str, Any]) -> Method:
    """Build the method once, so that a constructor that raises is found before any work."""
    try:
        return cls(**values)
    except ZslbenchError:
        raise
    except Exception as error:
        raise BadValue(f"method {name!r} cannot be made with these parameters ({error}); mend it or them.") from error


def checked_told(method: Method, name: str) -> tuple[str, ...]:
    """Return what the `fit` of a method is told (BadValue: no field of `Train`, or more than its setting says)."""
    told, setting = method.told, method.setting
    if isinstance(told, str) or not {*told} <= {"unseen", "unlabelled", "class_prior"}:
        raise BadValue(f"method {name!r} is told {told!r}; return a tuple of 'unseen', 'unlabelled' and 'class_prior'.")
    needed = Setting.TRANSDUCTIVE if {*told} - {"unseen"} else Setting.SEMANTIC if told else Setting.INDUCTIVE
    if (order := [*Setting]).index(setting) < order.index(needed):
        raise BadValue(
            f"method {name!r} is told {', '.join(told)} in fit, and its setting is {setting}, which rows are marked "
            f"by; make it {needed}."
        )
    return tuple(told)
