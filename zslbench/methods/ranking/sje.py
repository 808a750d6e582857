"""SJE: a bilinear compatibility by a structured loss, the worst violator (Akata et al., 2015)."""

from __future__ import annotations

import dataclasses

from zslbench.methods.base import MethodCard, Preset
from zslbench.methods.ranking import PUBLISHED, SHARED_DIFFERENCES, BilinearMethod, published_cell


@dataclasses.dataclass(kw_only=True)
class SJE(BilinearMethod):
    """Structured joint embedding: max_c [Δ(y,c) + s(x,c) − s(x,y)]₊ (Akata et al., 2015)."""

    card = MethodCard(
        title="SJE",
        summary="bilinear compatibility by a structured loss: the worst wrong class counts",
        citation="akata2015sje",
        reference="Akata, Reed, Walter, Lee & Schiele, Evaluation of output embeddings for fine-grained image "
        "classification, CVPR 2015",
        formula="min_W Σ_i max_c [Δ(y_i, c) + s(x_i, c) − s(x_i, y_i)]₊;  s(x, c) = xᵀ W a_c",
        differences=(
            "The public re-implementation standardises the projected image xᵀW before it is scored, in training but "
            "not in testing; here this is never done.",
            *SHARED_DIFFERENCES,
        ),
    )
    presets = {
        "published": Preset(
            source=PUBLISHED.format("SJE") + "; it standardises xᵀW as it trains, which is left out here",
            cells={
                ("cub", "zsl"): published_cell("std", lr=0.1, margin=4.0),
                ("awa1", "zsl"): published_cell("L2", lr=1.0, margin=2.5),
                ("awa2", "zsl"): published_cell("L2", lr=1.0, margin=2.5),
                ("apy", "zsl"): published_cell("None", lr=0.01, margin=1.5),
                ("sun", "zsl"): published_cell("std", lr=1.0, margin=2.0),
            },
        )
    }

    def ranking_loss(self) -> str:
        """Return the largest violation."""
        return "worst violator"
