"""ALE: a bilinear compatibility by a weighted approximate ranking loss (Akata et al., 2016)."""

from __future__ import annotations

import dataclasses

from zslbench.methods.base import MethodCard, Preset
from zslbench.methods.ranking import PUBLISHED, SHARED_DIFFERENCES, BilinearMethod, published_cell
from zslbench.params import param


@dataclasses.dataclass(kw_only=True)
class ALE(BilinearMethod):
    """Attribute label embedding: β_r/r Σ_c [Δ + s(x,c) − s(x,y)]₊ over the r violating classes, β_r = Σ_{i≤r} 1/i."""

    card = MethodCard(
        title="ALE",
        summary="bilinear compatibility by a weighted approximate ranking loss (WARP)",
        citation="akata2016ale",
        reference="Akata, Perronnin, Harchaoui & Schmid, Label-embedding for image classification, TPAMI 2016",
        version=2,
        formula="min_W Σ_i β_r/r Σ_c [Δ + s(x_i, c) − s(x_i, y_i)]₊ with r violators, β_r = Σ_{i≤r} 1/i;  "
        "s(x, c) = xᵀ W a_c",
        differences=(
            "ranks=exact counts the violating classes of an image and weights all of them, as the objective says; "
            "with at most some hundred classes this is one cheap vector operation. The paper draws classes until one "
            "violates the margin, and estimates the rank from the number of draws k as ⌊(C−1)/k⌋. ranks=sampled does "
            "this, with replacement and at most C − 1 draws, as the public re-implementation has done since 2020.",
            *SHARED_DIFFERENCES,
        ),
    )
    presets = {
        "published": Preset(
            source=PUBLISHED.format("ALE"),
            cells={
                ("cub", "zsl"): published_cell("L2", lr=0.3, ranks="sampled"),
                ("awa1", "zsl"): published_cell("L2", lr=0.01, ranks="sampled"),
                ("awa2", "zsl"): published_cell("L2", lr=0.01, ranks="sampled"),
                ("apy", "zsl"): published_cell("L2", lr=0.04, ranks="sampled"),
                ("sun", "zsl"): published_cell("L2", lr=0.1, ranks="sampled"),
            },
        )
    }

    ranks: str = param(
        "exact", choices=("exact", "sampled"), help="rank of the own class: counted, or estimated by drawing classes"
    )

    def ranking_loss(self) -> str:
        """Return the weighted ranking loss, by exact or by sampled ranks."""
        return "weighted ranks" if self.ranks == "exact" else "sampled ranks"
