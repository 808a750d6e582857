"""`table`: the records in a layout, or what the data sets hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zslbench.arguments import plain
from zslbench.errors import BadValue, UnknownName
from zslbench.results.tables import accuracy

LAYOUTS = (*accuracy.LAYOUTS, "stats")
_NO_RECORDS = {
    "methods": "--method",
    "protocols": "--protocol",
    "metrics": "--metric",
    "published": "--published",
    "selection": "--selection",
    "calibrate": "--calibrate",
    "per_fold": "--per-fold",
    "ci": "--ci",
    "rank_together": "--rank-together",
}


def table(
    runs: Path | str = "runs",
    *,
    layout: str = "full",
    format: str = "terminal",
    datasets: Sequence[str] = (),
    features: str | None = None,
    semantics: str | None = None,
    stage: str = "final",
    data_root: Path | None = None,
    standalone: bool = False,
    output: Path | None = None,
    width: int | str | float | None = None,
    **options: Any,
) -> str:
    """Return a table of the finished runs, or with ``layout="stats"`` of what the data sets hold.

    Args:
        runs: the folder of records.
        layout: ``full``: every metric under each data set's head; ``zsl``: T1 by data set; ``gzsl``: U, S and H by data
            set; ``stats``: counts of the data sets, which needs no run.
        format: terminal, markdown, latex (booktabs), csv or json.
        datasets, features, semantics: which; of ``stats`` all that are on this machine, where none are named.
        stage: ``final`` or ``dev``.
        data_root: the folder that holds xlsa17 folders, for ``stats``.
        standalone: write a LaTeX document that shows the table alone.
        output: also write the table there.
        width: characters of a line; of LaTeX inches, or ``column``, ``page``, ``eccv``, ``neurips``.
        options: of `zslbench.results.tables.accuracy.table`: methods, protocols, metrics, published, selection,
            calibrate, per_fold, ci, rank_together.

    Raises:
        ZslbenchError: as `zslbench.results.tables.accuracy.table` and `zslbench.studies.statistics.statistics` say.
        BadValue: an option that has no meaning for the layout.
    """
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS)
    shared: dict[str, Any] = {
        "format": format,
        "datasets": datasets,
        "features": features,
        "semantics": semantics,
        "standalone": standalone,
        "output": output,
        "width": width,
    }
    if layout != "stats":
        if data_root is not None:
            raise BadValue(f"layout {layout!r} is made from records alone; leave out --data-root, or name --runs.")
        text: str = plain(accuracy.table)(runs, layout=layout, stage=stage, **shared, **options)
        return text
    asked = [option for name, option in _NO_RECORDS.items() if options.get(name)] + ["--stage"] * (stage != "final")
    asked += ["--runs"] * (Path(runs) != Path("runs"))
    if asked:
        raise BadValue(
            f"layout 'stats' counts data, not runs; leave out {' and '.join(asked)}, or choose another layout."
        )
    if unknown := options.keys() - _NO_RECORDS.keys():
        raise TypeError(f"table() got an unexpected keyword argument {min(unknown)!r}")
    from zslbench.studies.statistics import statistics

    return statistics(data_root=data_root, **shared)
