"""`Contract`: named checks that run in order on one subject and stop at the first failure with one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from zslbench import params, spec
from zslbench.errors import BadValue, ZslbenchError
from zslbench.visible import describe_exception

S = TypeVar("S")


class CheckFailed(ZslbenchError):
    """A contract is broken; `check` names the check that failed, `passed` those that passed before it."""

    def __init__(self, subject: str, check: str, why: str, passed: Iterable[str] = ()) -> None:
        super().__init__(f"{subject} fails the check {check!r}: {why}")
        self.subject, self.check, self.why, self.passed = subject, check, why, tuple(passed)


class Violation(Exception):
    """What `require` raises; `Contract.run` turns it into a `CheckFailed`."""


def require(holds: object, why: str) -> None:
    """Raise unless `holds`; `why` is a sentence on what is wrong."""
    if not holds:
        raise Violation(why)


class Contract(Generic[S]):
    """Checks by name, in the order of their definition."""

    def __init__(self) -> None:
        self.checks: dict[str, tuple[Callable[[S], None], Callable[[S], bool]]] = {}

    def check(
        self, name: str, applies: Callable[[S], bool] = lambda _: True
    ) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """Add the decorated function as a check; it is skipped for subjects to which it does not apply."""

        def add(function: Callable[[S], None]) -> Callable[[S], None]:
            self.checks[name] = function, applies
            return function

        return add

    def run(self, subject: S, label: str) -> list[str]:
        """Return the names of the checks that passed.

        Raises:
            CheckFailed: the first check that fails, or that cannot be carried out because the subject raises an error.
        """
        passed: list[str] = []
        for name, (function, applies) in self.checks.items():
            if not applies(subject):
                continue
            try:
                function(subject)
            except Violation as violation:
                raise CheckFailed(label, name, str(violation), passed) from None
            except Exception as error:
                raise CheckFailed(label, name, f"it raised {describe_exception(error)}", passed) from error
            passed.append(name)
        return passed


def require_parameters(cls: type[Any]) -> None:
    """Require that every parameter has a help text, survives the spec grammar, and refuses bad values."""
    defaults = params.current_values(cls())
    for name, param in params.declared_params(cls).items():
        require(param.help, f"parameter {name!r} has no help text.")
        wrong: list[Any] = [None, [1], *(["no such choice"] if param.choices else [])]
        if param.kind in (int, float):
            wrong += ["text", float("nan")]
            wrong += [] if param.low is None else [param.kind(param.low - 1)]
            wrong += [] if param.high is None else [param.kind(param.high + 1)]
        for value in wrong:
            try:
                cls(**{name: value})
            except BadValue:
                continue
            require(False, f"{name}={value!r} is accepted, although {name} takes {param.describe_allowed()}.")
    written = spec.parse(f"x{spec.brackets(defaults)}").params
    resolved = params.resolve(cls, cls.__name__, dict(written))
    require(resolved == defaults, f"parameters {defaults} come back from the spec grammar as {resolved}.")
    same = params.current_values(cls(**defaults)) == defaults
    require(same, "parameters given to the constructor are not those it holds.")


def require_card(card: Any, kind: type, *texts: str) -> None:
    """Require a card of a kind, with a version of 1 or more and the named texts, each one line long."""
    require(isinstance(card, kind), f"it has no card = {kind.__name__}(...).")
    require_text("card", **{name: getattr(card, name) for name in texts})
    require(isinstance(card.version, int) and card.version >= 1, f"its version is {card.version!r}, not 1 or more.")


def require_text(owner: str, **texts: str) -> None:
    """Require that no text is empty and that each is one line long."""
    for name, text in texts.items():
        require(isinstance(text, str) and text.strip(), f"the {name} of its {owner} is empty.")
        require("\n" not in text, f"the {name} of its {owner} has more than one line.")
