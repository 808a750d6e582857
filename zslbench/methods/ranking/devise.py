"""DeViSE: a linear map into the space of semantics, trained by hinge rank loss (Frome et al., 2013)."""

from __future__ import annotations

import dataclasses

from zslbench.methods.base import MethodCard, Preset
from zslbench.methods.ranking import PUBLISHED, SHARED_DIFFERENCES, BilinearMethod, published_cell
from zslbench.params import param


@dataclasses.dataclass(kw_only=True)
class DeViSE(BilinearMethod):
    """Deep visual-semantic embedding on fixed features: Σ_{c≠y} [Δ + s(x,c) − s(x,y)]₊ (Frome et al., 2013, Eq. 1)."""

    card = MethodCard(
        title="DeViSE",
        summary="bilinear compatibility by a hinge rank loss",
        citation="frome2013devise",
        reference="Frome, Corrado, Shlens, Bengio, Dean, Ranzato & Mikolov, DeViSE: A deep visual-semantic embedding "
        "model, NeurIPS 2013",
        formula="min_W Σ_i Σ_{c≠y_i} [Δ + s(x_i, c) − s(x_i, y_i)]₊;  s(x, c) = xᵀ W a_c",
        differences=(
            "violators=first learns from the first violating class in a random order, as in the paper's training; "
            "violators=all sums the loss over all violating classes, as in its Eq. 1. The public re-implementation "
            "takes the first one in ascending order of class ids, which is always the same order.",
            "Features are fixed; the paper then also fine-tunes the image network.",
            *SHARED_DIFFERENCES,
        ),
    )
    presets = {
        "published": Preset(
            source=PUBLISHED.format("DeViSE") + "; it updates on the violating class of the lowest id, here on one "
            "drawn at random",
            cells={
                ("cub", "zsl"): published_cell("L2", lr=1.0, margin=1.0, violators="first"),
                ("awa1", "zsl"): published_cell("std", lr=0.01, margin=200.0, violators="first"),
                ("awa2", "zsl"): published_cell("std", lr=0.001, margin=150.0, violators="first"),
                ("apy", "zsl"): published_cell("L2", lr=1.0, margin=1.0, violators="first"),
                ("sun", "zsl"): published_cell("None", lr=0.01, margin=3.0, violators="first"),
            },
        )
    }

    violators: str = param(
        "first", choices=("first", "all"), help="classes an update learns from: the first violator drawn, or all"
    )

    def ranking_loss(self) -> str:
        """Return the sum over all violating classes, or the first one in a random order."""
        return "every violator" if self.violators == "all" else "first violator"
