"""How a run, its metrics, losses and durations are written on one line, wherever progress is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zslbench.results.records.record import Record


def name_run(label: str, dataset: str, protocols: Iterable[str], stage: str, fold: int, seed: int) -> str:
    """Return what is run, on one line; `protocols` may be left out.

    >>> name_run("eszsl", "cub", ["zsl", "gzsl"], "dev", 2, 0), name_run("sae", "cub", [], "final", 0, 1)
    ('eszsl cub zsl+gzsl dev2 seed 0', 'sae cub seed 1')
    """
    of_dev = "" if stage == "final" else f"{stage}{fold}"
    return " ".join(filter(None, [label, dataset, "+".join(protocols), of_dev, f"seed {seed}"]))


def name_record(record: Record, protocols: Iterable[str]) -> str:
    """Return what a record is of, on one line."""
    return name_run(record.label, record.dataset["name"], protocols, record.stage, record.fold, record.seed)


def format_metrics(values: Mapping[str, float]) -> str:
    """Return metrics in percent.

    >>> format_metrics({"U": 0.5, "S": 0.25})
    'U 50.0  S 25.0'
    """
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in values.items())


def format_losses(values: Mapping[str, float | None]) -> str:
    """Return losses with four digits; None is one that is not finite.

    >>> format_losses({"critic": -0.123456, "generator": 12345.6})
    'critic -0.1235  generator 1.235e+04'
    """
    return "  ".join(f"{name} {'nan' if value is None else f'{value:.4g}'}" for name, value in values.items())


def last_line(error: str) -> str:
    """Return the last line of a traceback, which says what went wrong; empty when there is none."""
    return (error.strip().splitlines() or [""])[-1]


def format_clock(seconds: float) -> str:
    """Return a duration as a clock shows it.

    >>> format_clock(61.9), format_clock(7325), format_clock(90000)
    ('1:01', '2:02:05', '25:00:00')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: int, what: str) -> str:
    """Return a number and what it counts.

    >>> format_count(1, "fit"), format_count(12000, "fit")
    ('1 fit', '12,000 fits')
    """
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def runs_option(runs: Path) -> list[str]:
    """Return the words of a command that name a folder of records, none for the usual one."""
    return [] if runs == Path("runs") else ["--runs", str(runs)]
