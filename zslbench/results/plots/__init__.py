"""Figures for papers, from records alone; matplotlib is imported when a figure is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zslbench.results.plots.ablation import draw_ablation
from zslbench.results.plots.backbones import draw_backbones
from zslbench.results.plots.by_class import draw_confusion, draw_perclass
from zslbench.results.plots.curves import draw_curves, draw_pareto, draw_stability
from zslbench.results.plots.features import draw_features
from zslbench.results.plots.frame import DrawnFigure, FigureRequest
from zslbench.results.plots.losses import draw_losses
from zslbench.results.plots.ranks import draw_ranks
from zslbench.results.plots.sensitivity import draw_sensitivity, draw_souls

KINDS: Mapping[str, Callable[[FigureRequest], DrawnFigure]] = {
    "confusion": draw_confusion,
    "sensitivity": draw_sensitivity,
    "souls": draw_souls,
    "stability": draw_stability,
    "losses": draw_losses,
    "ablation": draw_ablation,
    "curve": draw_curves,
    "perclass": draw_perclass,
    "pareto": draw_pareto,
    "cd": draw_ranks,
    "backbones": draw_backbones,
    "features": draw_features,
}
"""What draws each kind. Raises BadValue, UnknownName or StoreError where records or options do not fit the kind."""
