"""What the parts of a method are worth: bars with intervals, a bar a named setting (Li et al., 2019, Fig. 7b)."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from zslbench.errors import BadValue
from zslbench.identity import canonical_json
from zslbench.results.analysis.advice import ablate_command
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import SPREADS, Line, Panel, facts, have_spread, panels_of, said_below, spread_of
from zslbench.results.plots.style import COLOURS, FAINT, HATCHES, INK, Style, frame_panel, panels
from zslbench.results.tables.table import Remark, remarks
from zslbench.spec import parse_recorded

FULL = "full"
Settings = Mapping[str, Mapping[str, Any]]


def draw_ablation(
    lines: Sequence[Line],
    style: Style,
    ablations: Callable[[str], Settings],
    metrics: Sequence[str] | None = None,
    spread: str = "ci",
    runs: Path = Path("runs"),
) -> Drawn:
    """Draw a bar a named setting of one method, in the order of their declaration, the method as given last.

    Each seed is a dot on its bar. The axis begins at 0, so that lengths can be compared.

    Args:
        lines: runs of one method, of any data sets and protocols, a panel each.
        ablations: the named settings of a method.
        metrics: a panel each; None: T1 and H; spread: ``std`` or ``ci``.
        runs: the folder that commands in sentences name.

    Raises:
        BadValue: several methods, one that declares no ablations, or none of them was run.
    """
    method = _method(lines, ablations)
    declared = ablations(method)
    grid = [(panel, _bars(panel, declared)) for panel in panels_of(lines, metrics)]
    grid = [(panel, bars) for panel, bars in grid if bars]
    if not grid:
        raise BadValue(
            f"none of the ablations of {method} ({', '.join(declared)}) was run beside another; run them first: "
            f"`{ablate_command(lines[0].records, method, runs)}`."
        )
    _, axes = panels(style, len(grid), 1.6)
    rows: list[dict[str, Any]] = []
    order = [*declared, FULL]
    for one, (panel, bars) in zip(axes, grid, strict=True):
        for place, (setting, line) in enumerate(bars):
            stat = line.row.metrics[panel.metric]
            mean, low, high = spread_of(stat.values, line.stochastic, spread)
            look = order.index(setting)
            one.bar(
                place,
                mean,
                0.68,
                color=COLOURS[look % len(COLOURS)],
                alpha=0.75,
                edgecolor=INK,
                lw=0.5,
                hatch=HATCHES[look % len(HATCHES)],
            )
            if high > low:
                one.errorbar(place, mean, [[mean - low], [high - mean]], color=INK, capsize=2.5, lw=0.9)
                away = 0.16
                xs = [place - away + 2 * away * at / max(1, stat.n - 1) for at in range(stat.n)]
                one.plot(xs, stat.values, ls="none", marker="o", ms=2.2, mfc="white", mec=INK, mew=0.5, zorder=4)
            numbers = {"metric": panel.metric, "mean": mean, "low": low, "high": high, "n": stat.n}
            rows.append(facts(line) | {"name": line.row.title, "ablation": setting} | numbers)
        names = [setting + ("‡" if line.row.setting == "transductive" else "") for setting, line in bars]
        one.set_xticks(range(len(bars)), [style.text(name) for name in names])
        one.set_ylim(0, min(one.get_ylim()[1], 102))
        frame_panel(one, style, len(grid), panel.head, ("", f"{panel.metric} (%)"))
        one.tick_params(axis="x", length=0)
        one.axhline(0, color=FAINT, lw=0.6)
    drawn = [line for _, bars in grid for _, line in bars]
    shown = list(dict.fromkeys(panel.metric for panel, _ in grid))
    return Drawn(tuple(axes), tuple(rows), tuple(_remarks(drawn, declared, shown, spread, ablations)))


def _remarks(
    drawn: Sequence[Line], declared: Settings, metrics: Sequence[str], spread: str, ablations: object
) -> list[Remark]:
    title = drawn[0].row.title
    info = f"zslbench info {shlex.quote(drawn[0].row.method)}"
    said = [f"Ablations of {title}: {', '.join(declared)}; `{info}` says what each is."]
    said.append(f"As run: {', '.join(dict.fromkeys(line.row.label for line in drawn))}.")
    bars = have_spread(drawn)
    if bars:
        said.append(
            "Dots: single seeds. Bars with settings in common share seeds, so overlapping intervals say little; "
            "`zslbench ablate` has the paired differences."
        )
    plain = [dataclasses.replace(line, key=dataclasses.replace(line.key, given="")) for line in drawn]
    plain = [dataclasses.replace(line, name=line.key.name) for line in plain]
    return remarks("figure", said) + said_below(plain, metrics, f"Intervals: {SPREADS[spread]}." if bars else "")


def _method(lines: Sequence[Line], ablations: Callable[[str], Settings]) -> str:
    names = list(dict.fromkeys(line.row.method for line in lines))
    having = [name for name in names if ablations(name)]
    if len(having) == 1 and (len(names) == 1 or any(len(parse_recorded(line.row.label).presets) for line in lines)):
        return having[0]
    if not having:
        raise BadValue(
            f"no method asked for declares ablations (there are runs of {', '.join(names)}); name one that does with "
            "-m, or draw a sensitivity figure of a parameter."
        )
    raise BadValue(
        f"there are runs of several methods ({', '.join(names)}); choose one with -m, as in `-m {having[0]}`."
    )


def _bars(panel: Panel, declared: Settings) -> list[tuple[str, Line]]:
    """Return the settings of a panel in order; none where fewer than two of them were run.

    Raises:
        BadValue: one setting was run in several ways.
    """
    touched = {name for values in declared.values() for name in values}
    families: dict[str, list[Line]] = {}
    for line in panel.lines:
        if set(touched) <= line.row.params.keys():
            rest = {name: value for name, value in line.row.params.items() if name not in touched}
            key = canonical_json([line.row.method, line.row.version, rest, line.row.selection])
            families.setdefault(key, []).append(line)
    found = [bars for bars in (_of_family(own, declared) for own in families.values()) if len(bars) > 1]
    if len(found) > 1:
        labels = "; ".join(bars[-1][1].row.label for bars in found)
        raise BadValue(
            f"the ablations on {panel.head} were run for several settings ({labels}); choose one with -m, as in "
            f"-m '{found[0][-1][1].row.method}[epochs=…]'."
        )
    return found[0] if found else []


def _of_family(lines: Sequence[Line], declared: Settings) -> list[tuple[str, Line]]:
    tagged: dict[str, list[Line]] = {}
    plain: list[Line] = []
    for line in lines:
        tags = [preset for preset in parse_recorded(line.row.label).presets if preset in declared]
        (tagged.setdefault(tags[-1], []) if tags else plain).append(line)
    # The method as given is what each ablation takes something away from: laid over it, it gives what was run.
    full = [
        line
        for line in plain
        if tagged
        and all(_laid_over(line, declared[tag]) in [dict(one.row.params) for one in own] for tag, own in tagged.items())
    ]
    parts = [values for values in declared.values() if values]
    whole = [
        line
        for line in full
        if not any(_laid_over(other, values) == dict(line.row.params) for other in full for values in parts)
    ]
    if len(whole) > 1:
        _refuse(whole, tagged)
    bars = []
    for tag, values in declared.items():
        own = tagged.get(tag, [])
        if whole:
            own = [one for one in [*own, *plain] if dict(one.row.params) == _laid_over(whole[0], values)]
        if len(own) > 1:
            _refuse(own, {})
        bars += [(tag, line) for line in own]
    used = [line for _, line in bars]
    return bars + [(FULL, line) for line in whole if line not in used]


def _refuse(several: Sequence[Line], tagged: Mapping[str, Sequence[Line]]) -> NoReturn:
    labels = [line.row.label for line in several]
    wanted = [*(line.row.label for own in tagged.values() for line in own), labels[0]]
    asked = " ".join(f"-m {shlex.quote(label)}" for label in wanted)
    raise BadValue(
        f"one setting was run in several ways ({'; '.join(labels)}); name those that belong together, as in {asked}."
    )


def _laid_over(line: Line, values: Mapping[str, Any]) -> dict[str, Any]:
    return {**line.row.params, **values}
