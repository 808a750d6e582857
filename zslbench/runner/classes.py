"""The classes that names stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from zslbench.errors import BadValue, ZslbenchError
from zslbench.methods.base import Method, MethodCard
from zslbench.protocols.base import Protocol
from zslbench.registry import METHODS, PROTOCOLS


def method_class(name: str) -> type[Method]:
    """Return the class of a method by registered name or ``pkg.module:Class``.

    Raises:
        ZslbenchError: an unknown or unavailable name, or something that is not a method.
    """
    found = METHODS.load(name)
    if not issubclass(found, Method):
        raise BadValue(f"{name!r} is not a method; name a subclass of zslbench.methods.base.Method.")
    if not isinstance(getattr(found, "card", None), MethodCard) or not dataclasses.is_dataclass(found):
        raise BadValue(
            f"method {name!r} is not complete: it must be a dataclass with card = MethodCard(…); "
            "zslbench.checks.check_method says what else is asked of it."
        )
    return found


def protocol_class(name: str) -> type[Protocol]:
    """Return the class of a protocol by registered name or ``pkg.module:Class`` (raises like `method_class`)."""
    found = PROTOCOLS.load(name)
    if not issubclass(found, Protocol):
        raise BadValue(f"{name!r} is not a protocol; name a subclass of zslbench.protocols.base.Protocol.")
    return found


def built(cls: type[Method], name: str, values: Mapping[str, Any]) -> Method:
    """Build the method once, so that a constructor that raises is found before any work."""
    try:
        return cls(**values)
    except ZslbenchError:
        raise
    except Exception as error:
        raise BadValue(f"method {name!r} cannot be made with these parameters ({error}); mend it or them.") from error
