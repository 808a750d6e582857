"""Direct comparison: features and semantics are vectors of one space, and the class with the largest cosine wins."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.methods.base import Context, MethodCard, Size
from zslbench.methods.closed_form import ClosedForm
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import Preprocessor, cosines, unit
from zslbench.params import param
from zslbench.task import ClassTable, Train


@dataclasses.dataclass(kw_only=True)
class Direct(ClosedForm):
    """Cosine of features and semantics of one space, as those of CLIP's two towers: nothing is trained.

    Image and text vectors of such models lie in two cones that do not meet (the modality gap). With `centre`, both are
    scaled to length 1, and the mean of the seen images and the mean of the seen classes are subtracted from them.
    """

    card = MethodCard(
        title="Direct",
        summary="cosine of features and semantics of one space (CLIP zero-shot); nothing is trained",
        citation="radford2021clip",
        reference="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
        stochastic=False,
        formula="score(x, a) = cos(x, a), or cos(x/‖x‖ − m, a/‖a‖ − b) with the means m of images and b of classes",
        differences=(
            "centre=true is an addition. Liang et al. (NeurIPS 2022) describe the gap and find that its size changes "
            "zero-shot accuracy; An et al. (ACL 2025) close it by standardising the vectors of each modality. Here "
            "the means are those of seen images and classes, the only ones that fit sees.",
            "Seen classes have no advantage over unseen ones, unless centring or the encoders give them one.",
        ),
    )
    space = {"centre": (False, True)}
    shared_space = True

    centre: bool = param(False, help="subtract the mean of the seen images, and of the seen classes, before the cosine")

    def cost(self, size: Size) -> float:
        """Return the numbers that are read."""
        return float(size.images * size.features)

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Keep the means; BadValue if features and semantics are of unequal length."""
        semantics = train.classes.semantics.astype(np.float64)
        width, length = train.features.shape[1], semantics.shape[1]
        if width != length:
            raise BadValue(
                f"Direct: features have {width} numbers and semantics {length}, so they are not of one space; take "
                "both from one model, such as the image and the text tower of CLIP (--features, --semantics), or a "
                "method that learns to compare them, such as eszsl."
            )
        self._keep(Preprocessor("l2"))
        rows = self.preprocessor_.transform(train.features)
        self.image_mean_ = rows.mean(axis=0, dtype=np.float64) * self.centre
        self.class_mean_ = unit(semantics).mean(axis=0) * self.centre

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) cosines; 0 if a vector has length 0."""
        return cosines(rows - self.image_mean_, unit(classes.semantics.astype(np.float64)) - self.class_mean_)
