"""What a contract is: named checks run in order on one subject, the first failure said in a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from zslbench import params, spec
from zslbench.errors import BadValue, ZslbenchError

S = TypeVar("S")


class CheckFailed(ZslbenchError):
    """A contract is broken; `check` names the check, `passed` those that held before it."""

    def __init__(self, subject: str, check: str, why: str, passed: Iterable[str] = ()) -> None:
        super().__init__(f"{subject} fails the check {check!r}: {why}")
        self.subject, self.check, self.why, self.passed = subject, check, why, tuple(passed)


class Violation(Exception):
    """Raised by `require`; `Contract.run` turns it into a `CheckFailed`."""


def require(holds: object, why: str) -> None:
    """Raise unless `holds`; `why` says what was found and what is wanted."""
    if not holds:
        raise Violation(why)


@dataclasses.dataclass(frozen=True)
class _Check(Generic[S]):
    name: str
    function: Callable[[S], None]
    applies: Callable[[S], bool]


class Contract(Generic[S]):
    """Checks in the order of their definition."""

    def __init__(self) -> None:
        self._checks: list[_Check[S]] = []

    def check(
        self, name: str, applies: Callable[[S], bool] = lambda _: True
    ) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """Add the decorated function as a check; it is left out for subjects to which it does not apply."""

        def add(function: Callable[[S], None]) -> Callable[[S], None]:
            self._checks.append(_Check(name, function, applies))
            return function

        return add

    def names(self) -> list[str]:
        """Return the names of all checks, whether or not they apply."""
        return [check.name for check in self._checks]

    def run(self, subject: S, label: str) -> list[str]:
        """Return the names of the checks that passed.

        Raises:
            CheckFailed: the first check that does not hold, or that cannot be carried out because the subject raises.
        """
        passed: list[str] = []
        for check in self._checks:
            if not check.applies(subject):
                continue
            try:
                check.function(subject)
            except Violation as violation:
                raise CheckFailed(label, check.name, str(violation), passed) from None
            except Exception as error:
                why = f"it raised {type(error).__name__}: {error}"
                raise CheckFailed(label, check.name, why, passed) from error
            passed.append(check.name)
        return passed


def require_parameters(cls: type[Any]) -> None:
    """Require that every parameter is explained, survives the spec grammar, and refuses what is out of range."""
    found = params.values(cls())
    for name, param in params.declared(cls).items():
        require(param.help, f"parameter {name!r} has no help text.")
        for wrong in _outside(param):
            try:
                cls(**{name: wrong})
            except BadValue:
                continue
            require(False, f"{name}={wrong!r} is accepted, although {name} takes {param.allowed()}.")
    again = spec.parse(f"x{spec.brackets(found)}").params
    resolved = params.resolve(cls, cls.__name__, dict(again))
    require(resolved == found, f"parameters {found} come back from the spec grammar as {resolved}.")
    require(params.values(cls(**found)) == found, "parameters given to the constructor are not those it holds.")


def _outside(param: params.Param) -> list[Any]:
    """Return values that a parameter must refuse."""
    wrong: list[Any] = [None, [1]]
    if param.choices:
        wrong.append("no such choice")
    if param.kind in (int, float):
        wrong += ["text", float("nan")]
        wrong += [] if param.low is None else [param.kind(param.low - 1)]
        wrong += [] if param.high is None else [param.kind(param.high + 1)]
    return wrong


def require_text(owner: str, **texts: str) -> None:
    """Require that each of the texts of a card is there and one line long."""
    for name, text in texts.items():
        require(isinstance(text, str) and text.strip(), f"the {name} of its {owner} is empty.")
        require("\n" not in text, f"the {name} of its {owner} has more than one line.")
