"""The layouts of LisGAN's Tables 2 to 4: T1 by data set, and U, S, H under each data set's head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.results.tables.layout import Column, GroupKey, group_details, group_heads
from zslbench.results.tables.table import Grid, Group, remarks

LAYOUTS = ("full", "zsl", "gzsl")
_METRICS = {"zsl": ("T1",), "gzsl": ("U", "S", "H")}


def check_layout(
    layout: str, protocols: Sequence[str], metrics: Sequence[str] | None, calibrate: object
) -> tuple[str, ...]:
    """Return the protocols that a layout is of.

    Raises:
        UnknownName: no such layout.
        BadValue: what was asked for has no place in it.
    """
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS)
    if layout == "full":
        return tuple(protocols)
    shows = f"layout {layout!r} shows {', '.join(_METRICS[layout])} of protocol {layout}"
    for name in protocols:
        if name.partition("[")[0].casefold() != layout:
            raise BadValue(f"{shows}, not protocol {name!r}; leave out --protocol, or choose --layout full.")
    if layout == "zsl" and (other := [name for name in metrics or () if name.casefold() != "t1"]):
        raise BadValue(f"{shows}, not {', '.join(other)}; leave out --metric, or choose --layout gzsl.")
    if layout == "zsl" and calibrate:
        raise BadValue(f"{shows}, which calibrated stacking does not change; leave out --calibrate.")
    return (layout,)


def flat(grid: Grid, columns: dict[GroupKey, list[Column]]) -> Grid:
    """Put a single column under its data set's name itself; several of one data set under what tells them apart."""
    keys = list(columns)
    heads, details = group_heads(keys), group_details(keys)
    if any(len(own) > 1 for own in columns.values()):
        return grid
    groups, chosen = [], []
    for name in dict.fromkeys(key[0] for key in keys):
        places = [place for place, key in enumerate(keys) if key[0] == name]
        own = [keys[place] for place in places]
        plain = len(own) == 1
        groups.append(Group("" if plain else name, tuple(heads[key] if plain else details[key] for key in own)))
        chosen.append(places)
    blocks = tuple(
        tuple(
            dataclasses.replace(line, cells=tuple(tuple(line.cells[place][0] for place in places) for places in chosen))
            for line in block
        )
        for block in grid.blocks
    )
    first = [remark for remark in grid.remarks if remark.kind == "stage"]
    first += remarks("layout", ["T1 stands under each data set's name."])
    others = [remark for remark in grid.remarks if remark.kind != "stage"]
    return dataclasses.replace(grid, groups=tuple(groups), blocks=blocks, remarks=(*first, *others))
