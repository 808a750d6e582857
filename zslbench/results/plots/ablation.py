"""What the parts of a method are worth: bars with intervals, one per named setting (Li et al., 2019, Fig. 7b)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from zslbench.errors import BadValue
from zslbench.results.analysis.advice import ablate_command
from zslbench.results.plots import series
from zslbench.results.plots.frame import (
    FAINT,
    GREY,
    HATCHES,
    INK,
    DrawnFigure,
    FigureRequest,
    Frame,
    choose_looks,
    escape,
)
from zslbench.spec import Spec, parse_recorded

FULL = "full"
Settings = Mapping[str, Mapping[str, Any]]


def draw_ablation(request: FigureRequest) -> DrawnFigure:
    """Draw a bar per named setting of one method, in the order of their declaration, the method as given last.

    Each seed is a dot on its bar. The axis begins at 0, so that lengths can be compared.
    """
    spread = request.spread or "ci"
    method = _choose_method(request)
    declared = request.known.ablations(method)
    panels = [(panel, _bars(panel, declared)) for panel in series.panels_of(request.lines, request.metrics)]
    panels = [(panel, bars) for panel, bars in panels if bars]
    if not panels:
        line = next(line for line in request.lines if line.row.method == method)
        as_run = parse_recorded(line.row.label)
        given = Spec(as_run.name, tuple(name for name in as_run.presets if name not in declared), as_run.params)
        command = ablate_command(line.records, str(given), request.store.root)
        raise BadValue(
            f"none of the ablations of {method} ({', '.join(declared)}) was run beside another; run them first: "
            f"`{command}`."
        )
    frame = Frame(request.width, len(panels), 1.6)
    order = [*declared, FULL]
    # A setting has one colour in all panels, however it was written when it was run on each data set.
    labels = {setting: series.look_key(line.row) for _, bars in reversed(panels) for setting, line in bars}
    looks = choose_looks(request, {setting: labels[setting] for setting in order if setting in labels})
    cut = False
    for axes, (panel, bars) in zip(frame.axes, panels, strict=True):
        for place, (setting, line) in enumerate(bars):
            stat = line.row.metrics[panel.metric]
            bar = series.estimate(stat, spread)
            hatch = HATCHES[order.index(setting) % len(HATCHES)]
            colour = looks.get(setting, {"color": GREY})["color"]
            axes.bar(place, bar.mean, 0.68, color=colour, alpha=0.6, edgecolor=INK, lw=0.5, hatch=hatch)
            if bar.high > bar.low:
                low, high = max(bar.low, 0.0), min(bar.high, 100.0)  # of two seeds it may leave what is possible
                cut |= (low, high) != (bar.low, bar.high)
                ends = [[bar.mean - low], [high - bar.mean]]
                axes.errorbar(place, bar.mean, ends, color=INK, capsize=2.5, lw=0.9)
                away = 0.16
                xs = [place - away + 2 * away * at / max(1, bar.n - 1) for at in range(bar.n)]
                axes.plot(xs, stat.values, ls="none", marker="o", ms=2.2, mfc="white", mec=INK, mew=0.5, zorder=4)
            about = line.facts | {"name": line.row.title, "ablation": setting, "metric": panel.metric}
            frame.rows.append(about | bar._asdict())
        names = [setting + ("‡" if line.row.setting == "transductive" else "") for setting, line in bars]
        axes.set_xticks(range(len(bars)), list(map(escape, names)))
        axes.set_ylim(0, min(max(axes.get_ylim()[1], 2), 102))
        frame.dress(axes, panel.title, ("", f"{panel.metric} (%)"))
        axes.tick_params(axis="x", length=0)
        axes.axhline(0, color=FAINT, lw=0.6)
    drawn = [series.rename_line(line, line.key.name) for _, bars in panels for _, line in bars]
    sentences = [
        f"Ablations of {drawn[0].row.title}; `zslbench info {shlex.quote(method)}` says what each is.",
        f"As run: {', '.join(dict.fromkeys(line.row.label for line in drawn))}.",
    ]
    if any(line.row.stochastic and len(line.records) > 1 for line in drawn):
        sentences.append(
            "Dots: single seeds. Bars share seeds, so overlapping intervals say little; `zslbench ablate` has paired "
            "differences."
        )
    if cut:
        sentences.append("Intervals are drawn from 0 to 100 % at most.")
    metrics = [panel.metric for panel, _ in panels]
    return frame.drawn(series.describe(sentences, drawn, metrics, f"Intervals: {series.SPREADS[spread]}."))


def _choose_method(request: FigureRequest) -> str:
    lines = request.lines
    names = list(dict.fromkeys(line.row.method for line in lines))
    ablated = [name for name in names if request.known.ablations(name)]
    if len(ablated) == 1 and (len(names) == 1 or any(parse_recorded(line.row.label).presets for line in lines)):
        return ablated[0]
    if not ablated:
        raise BadValue(
            f"no method asked for declares ablations (there are runs of {', '.join(names)}); name one that does with "
            "-m, or draw a sensitivity figure of a parameter."
        )
    raise BadValue(
        f"there are runs of several methods ({', '.join(names)}); choose one with -m, as in `-m {ablated[0]}`."
    )


def _bars(panel: series.Panel, declared: Settings) -> list[tuple[str, series.Line]]:
    """Return the settings of a panel in order; none where fewer than two of them were run."""
    varied = {name for values in declared.values() for name in values}
    families = series.group_by_rest(panel.lines, varied, lambda row: row.selection)
    drawable = [bars for bars in (_bars_of_family(family, declared) for family in families) if len(bars) > 1]
    if len(drawable) > 1:
        labels = "; ".join(bars[-1][1].row.label for bars in drawable)
        raise BadValue(
            f"the ablations on {panel.title} were run for several settings ({labels}); choose one with -m, as in "
            f"-m '{drawable[0][-1][1].row.method}[epochs=…]'."
        )
    return drawable[0] if drawable else []


def _bars_of_family(lines: Sequence[series.Line], declared: Settings) -> list[tuple[str, series.Line]]:
    tagged: dict[str, list[series.Line]] = {}
    plain: list[series.Line] = []
    for line in lines:
        tags = [preset for preset in parse_recorded(line.row.label).presets if preset in declared]
        (tagged.setdefault(tags[-1], []) if tags else plain).append(line)

    def matches(line: series.Line, full: series.Line, setting: str) -> bool:
        """Return whether a line is a full method with one setting laid over it."""
        return dict(line.row.params) == {**full.row.params, **declared[setting]}

    # The method as given is what each ablation takes something away from: laid over it, it gives what was run.
    full = [
        line
        for line in plain
        if tagged and all(any(matches(bar, line, tag) for bar in bars) for tag, bars in tagged.items())
    ]
    whole = [
        line
        for line in full
        if not any(values and matches(line, other, name) for other in full for name, values in declared.items())
    ]
    if len(whole) > 1:
        _refuse(whole, tagged)
    bars = []
    for tag in declared:
        fitting = tagged.get(tag, [])
        if whole:
            fitting = [line for line in [*fitting, *plain] if matches(line, whole[0], tag)]
        if len(fitting) > 1:
            _refuse(fitting, {})
        bars += [(tag, line) for line in fitting]
    used = [line for _, line in bars]
    return bars + [(FULL, line) for line in whole if line not in used]


def _refuse(several: Sequence[series.Line], tagged: Mapping[str, Sequence[series.Line]]) -> NoReturn:
    labels = [line.row.label for line in several]
    wanted = [*(line.row.label for bars in tagged.values() for line in bars), labels[0]]
    asked = " ".join(f"-m {shlex.quote(label)}" for label in wanted)
    raise BadValue(
        f"one setting was run in several ways ({'; '.join(labels)}); name those that belong together, as in {asked}."
    )
