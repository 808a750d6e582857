"""Minimal methods: a class with `fit` and `scores` and no card becomes a `Method` for the rest of the package."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any, ClassVar, get_origin, get_type_hints

from zslbench import params
from zslbench.errors import BadValue
from zslbench.methods.base import Method, MethodCard, Setting

_VERBS = ("fit", "scores")
_KINDS = (bool, int, float, str)


def as_method(cls: type) -> type[Method]:
    """Return a class with a card unchanged, and for any other class with `fit` and `scores` the method it describes.

    That method is a subclass with the same name and module. Its hyper-parameters are the fields of a dataclass, the
    annotated attributes, or the arguments of ``__init__``, if their defaults are numbers, texts or booleans. Its card
    is made of the class's plain attributes `name`, `setting`, `stochastic` and `version`: without these it is
    inductive, depends on the seed, and has version 1.

    Raises:
        BadValue: the class lacks `fit` or `scores`, or declares something that is not allowed.
    """
    if issubclass(cls, Method) and isinstance(getattr(cls, "card", None), MethodCard) and dataclasses.is_dataclass(cls):
        return cls
    key: Any = cls  # mypy takes some classes for unhashable
    return _completed(key)


def is_method(cls: type) -> bool:
    """Return whether a class is, or is meant to be, a method: it derives from `Method`, or has `fit` and `scores`."""
    return issubclass(cls, Method) or all(callable(getattr(cls, verb, None)) for verb in _VERBS)


def says_stochastic(cls: type) -> bool:
    """Return whether a class declares if its results depend on the seed; a minimal one need not."""
    return not isinstance(vars(cls).get("written_as"), type) or hasattr(cls, "stochastic")


class Completed(Method):
    """What is added to a minimal class; it comes after the class in the order of bases."""

    written_as: ClassVar[type]
    """The class as its user wrote it, which has a source file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (self.written_as,), self.__getstate__()


def _blank(cls: type) -> Method:
    """Return an instance of a minimal class before its ``__init__``, to be filled by `pickle`."""
    method = as_method(cls)
    return method.__new__(method)


@functools.lru_cache(maxsize=256)
def _completed(cls: type) -> type[Method]:
    title = _read(cls, "name", cls.__name__)
    lacking = [verb for verb in _VERBS if getattr(cls, verb, None) in (None, getattr(Method, verb))]
    if lacking:
        raise BadValue(
            f"{cls.__name__!r} is not a method: it has no {' and no '.join(lacking)}; write a class with "
            "fit(self, train, ctx) and scores(self, features, classes)."
        )
    declared = dict(_declared(cls))
    written = inspect.getattr_static(cls, "__init__")
    taken = inspect.signature(written).parameters if inspect.isfunction(written) else {}

    def construct(self: Any, **given: Any) -> None:
        values = params.resolve(type(self), title, given)
        vars(self).update(values)
        if taken:
            written(self, **{name: value for name, value in values.items() if name in taken})

    content = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__annotations__": {name: kind for name, (kind, _) in declared.items()},
        "__init__": construct,
        "written_as": cls,
        "card": _make_card(cls, title),
        **{name: field for name, (_, field) in declared.items()},
    }
    if not isinstance(inspect.getattr_static(cls, "setting", None), property | None):
        content["setting"] = Method.setting
    try:
        method = types.new_class(cls.__name__, (cls, Completed), {}, lambda space: space.update(content))
        return dataclasses.dataclass(kw_only=True, init=False, eq=False)(method)
    except TypeError as error:
        raise BadValue(f"{cls.__name__!r} cannot be made a method ({error}); write a plain class, or a card.") from None


def _make_card(cls: type, title: str) -> MethodCard:
    if isinstance(card := getattr(cls, "card", None), MethodCard):
        return card
    setting, stochastic = _read(cls, "setting", Setting.INDUCTIVE), _read(cls, "stochastic", True)
    version = _read(cls, "version", 1)
    try:
        setting = Setting.INDUCTIVE if isinstance(setting, property) else Setting(setting)
    except ValueError:
        raise _refuse(cls, "setting", setting, f"one of: {', '.join(Setting)}") from None
    if not isinstance(stochastic, bool):
        raise _refuse(cls, "stochastic", stochastic, "True or False")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _refuse(cls, "version", version, "a whole number of at least 1")
    if not isinstance(title, str) or not title.strip() or not title.isprintable():
        raise _refuse(cls, "name", title, "a text")
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    where = f"{cls.__module__}:{cls.__qualname__}"
    return MethodCard(title, summary or title, "unpublished", where, version, setting, stochastic)


def _read(cls: type, attribute: str, usual: Any) -> Any:
    """Return an attribute of a class as it is written; a property is not evaluated."""
    given = inspect.getattr_static(cls, attribute, usual)
    return usual if given is inspect.getattr_static(Method, attribute, None) else given


def _refuse(cls: type, attribute: str, given: object, allowed: str) -> BadValue:
    return BadValue(f"{cls.__name__}: {attribute} = {given!r} is not allowed; write {allowed}.")


def _declared(cls: type) -> Iterator[tuple[str, tuple[type, Any]]]:
    """Yield the hyper-parameters of a class by name, with their types and fields, bases first."""
    hints = _hints(cls)
    defaults: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base in (object, *Method.__mro__):
            continue
        for name in inspect.get_annotations(base):
            kept = (
                name.endswith("_") or name.startswith("_") or name in params.NEVER_PARAMETERS or hasattr(Method, name)
            )
            if not kept and get_origin(hints.get(name)) is not ClassVar and name in vars(base):
                defaults[name] = vars(base)[name]
    if dataclasses.is_dataclass(cls):
        defaults |= {field.name: field for field in dataclasses.fields(cls) if field.init}
    init = inspect.getattr_static(cls, "__init__")
    if inspect.isfunction(init) and init.__code__.co_filename != "<string>":  # what dataclass would have written
        hints |= _hints(init)
        arguments = list(inspect.signature(init).parameters.values())[1:]
        defaults |= {each.name: each.default for each in arguments if each.default is not each.empty}
    for name, default in defaults.items():
        field: Any = default if isinstance(default, dataclasses.Field) else dataclasses.field(default=default)
        kind: Any = hints.get(name) if hints.get(name) in _KINDS else type(field.default)
        if "param" in field.metadata:
            yield name, (kind, params.param(field.default, **field.metadata["param"]))
        elif kind in _KINDS and field.default is not dataclasses.MISSING:
            yield name, (kind, params.param(kind(field.default), help="(no description)"))


def _hints(subject: Any) -> dict[str, Any]:
    try:
        return get_type_hints(subject)
    except Exception:  # a name that only type checkers know: types are taken from the defaults
        return {}
