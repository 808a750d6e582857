"""Which runs differ in one hyper-parameter alone: the sweeps that a sensitivity figure is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadValue, UnknownName
from zslbench.identity import canonical_json
from zslbench.results.analysis.advice import ablate_command
from zslbench.results.analysis.naming import natural
from zslbench.results.plots.lines import Line, Panel, named, panels_of
from zslbench.results.plots.scale import Value, in_order
from zslbench.spec import parse_recorded


@dataclasses.dataclass(frozen=True, eq=False)
class Swept:
    """One sweep: its name, the parameters that it was given besides, and a line of records a value."""

    name: str
    given: str
    points: tuple[tuple[Value, Line], ...]


def swept_parameter(lines: Sequence[Line], asked: str | None, runs: Path) -> str:
    """Return the parameter to draw: the one asked for, else the only one that was swept.

    Raises:
        UnknownName: no method has it. BadValue: none was swept, or several.
    """
    known = {name for line in lines for name in line.row.params}
    if asked is not None:
        if asked not in known:
            raise UnknownName("hyper-parameter", asked, known)
        return asked
    moving = swept_parameters(lines)
    if len(moving) == 1:
        return moving[0]
    if not moving:
        raise BadValue(nothing_swept(lines, None, runs))
    raise BadValue(f"several hyper-parameters were swept ({', '.join(moving)}); choose one with --param.")


def swept_parameters(lines: Sequence[Line]) -> list[str]:
    """Return the hyper-parameters of which lines of some data set have two values or more, all others kept."""
    groups = _by_data(lines)
    known = sorted({name for line in lines for name in line.row.params})
    return [name for name in known if any(_families(own, name) for own in groups)]


def _by_data(lines: Sequence[Line]) -> list[Sequence[Line]]:
    found: dict[tuple[str, tuple[str, ...]], list[Line]] = {}
    for panel in panels_of(lines, None):
        found.setdefault((panel.head, tuple(sorted(panel.lines[0].row.metrics))), []).extend(panel.lines)
    return [list(dict.fromkeys(own)) for own in found.values()]


def _families(lines: Sequence[Line], name: str) -> list[list[Line]]:
    """Return the lines that differ in one parameter alone, and have two values of it or more."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        row = line.row
        if name not in row.params:
            continue
        rest = {key: value for key, value in row.params.items() if key != name}
        found.setdefault(canonical_json([row.method, row.version, rest, row.selection == "oracle"]), []).append(line)
    return [own for own in found.values() if _moves(own, name)]


def _moves(lines: Sequence[Line], name: str) -> bool:
    """Return whether lines that were asked for with the same presets have two values: S1 and S2 are no sweep."""
    values: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        values.setdefault(parse_recorded(line.row.label).presets, set()).add(canonical_json(line.row.params[name]))
    return any(len(own) > 1 for own in values.values())


def sweeps(panel: Panel, name: str) -> list[Swept]:
    """Return the sweeps of one parameter in a panel, in order of their names."""
    families = _families(panel.lines, name)
    bare = []
    for own in families:
        rest = {key: value for key, value in own[0].row.params.items() if key != name}
        # The setting is the line's where all its points have it: a cascade that is swept makes only some transductive.
        settings = {line.row.setting for line in own}
        setting = "transductive" if "transductive" in settings else own[0].row.setting
        bare.append(dataclasses.replace(own[0].row, label=_in_common(own, name), params=rest, setting=setting))
    out = []
    for own, row in zip(families, bare, strict=True):
        (whole,) = [line for line in named(bare) if line.row is row]
        found: dict[str, tuple[Value, Line]] = {}
        for line in own:  # a validated run and the same values as given are one point: the first of them
            found.setdefault(canonical_json(line.row.params[name]), (line.row.params[name], line))
        out.append(
            Swept(whole.name, whole.key.given, tuple(sorted(found.values(), key=lambda point: in_order(point[0]))))
        )
    return sorted(out, key=lambda one: natural(one.name))


def _in_common(lines: Sequence[Line], name: str) -> str:
    """Return the label that holds for all values: presets and parameters that every line was given, but one."""
    specs = [parse_recorded(line.row.label) for line in lines]
    presets = tuple(preset for preset in specs[0].presets if all(preset in spec.presets for spec in specs))
    given = {
        key: value
        for key, value in specs[0].params.items()
        if key != name and all(spec.params.get(key) == value for spec in specs)
    }
    return str(dataclasses.replace(specs[0], presets=presets, params=given))


def nothing_swept(lines: Sequence[Line], name: str | None, runs: Path, values: str = "[…,…]") -> str:
    """Return the sentence that there is no sweep (of `name`), with the command that makes one."""
    first = next((line for line in lines if name in line.row.params), lines[0])
    shown = name or next(iter(first.row.params), "NAME")
    extra = ("--sweep", f"{shown}={values}", *(("--stage", "dev") if first.row.stage == "dev" else ()))
    what = f"{name} has" if name else "every hyper-parameter has"
    return (
        f"{what} one value in the runs asked for, all others kept; sweep it first: "
        f"`{ablate_command(first.records, first.row.label, runs, *extra)}`."
    )
