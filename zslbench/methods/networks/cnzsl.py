"""CNZSL: class normalisation for zero-shot learning (Skorokhodov & Elhoseiny, ICLR 2021)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Self

from zslbench.arrays import Array
from zslbench.methods.base import Ablation, Context, Method, MethodCard, Preset, Size, report_losses
from zslbench.methods.preprocess import check_chain, prepare, scaled_to_root
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(kw_only=True)
class CNZSL(Method):
    """A perceptron from semantics to prototypes, normalised over classes, trained by cross-entropy on cosines.

    Semantics are scaled to length √a. Logits over seen classes are s² cos(x, p_c).
    """

    card = MethodCard(
        title="CNZSL",
        summary="perceptron from semantics to visual prototypes with class normalisation; scaled cosines",
        citation="skorokhodov2021cnzsl",
        reference="Skorokhodov & Elhoseiny, Class Normalization for (Continual)? Generalized Zero-Shot Learning, "
        "ICLR 2021",
        version=2,
        formula="p(a) = ReLU(W₃ CN(ReLU(CN(W₂ ReLU(W₁ a))))), CN(h) = (h − mean_c h) / std_c h;  "
        "score(x, a) = s² cos(x, p(a)), trained by cross-entropy over seen classes",
        differences=(
            "The statistics of class normalisation at test time are those of the seen classes under the final "
            "weights, computed once after training; the public notebook uses running averages over training steps "
            "(momentum 0.1), which tend to the same values. Candidate classes influence neither.",
            "The public notebook divides by the variance, the paper (Eq. 9) by the standard deviation. divide_by "
            "chooses between them; the default is the paper's.",
            "The variance over classes is the biased one, so that a single seen class is allowed; the notebook's is "
            "unbiased.",
            "The public notebook multiplies the logits of seen classes by 0.95 before it measures GZSL on all data "
            "sets but CUB; that is calibrated stacking and is not part of this method.",
            "The notebook's prototypes end in a ReLU, which suits features without negative values; output=auto "
            "leaves it out if training features have negative values.",
        ),
    )
    presets = {
        "published": Preset(
            source="the public notebook, the same for every data set (Adam, step schedule, widths, batch, epochs, "
            "initial variance, features as they are, division by the variance)",
            values={
                "hidden": 1024,
                "epochs": 50,
                "batch": 256,
                "lr": 5e-4,
                "decay": 1e-4,
                "drop_every": 25,
                "drop": 0.1,
                "scale": 5.0,
                "divide_by": "variance",
                "proper_init": True,
                "output": "relu",
                "preprocess": "none",
            },
        ),
    }
    ablations = {
        "plain": Ablation(
            {"divide_by": "nothing", "proper_init": False}, "neither class normalisation nor its initial variance"
        ),
    }
    space = {
        "lr": Between(1e-4, 3e-3, log=True),
        "epochs": Between(10, 60, log=True),
        "scale": Between(2.0, 20.0, log=True),
        "decay": Between(1e-6, 1e-3, log=True, zero=True),
    }
    libraries = ("zslbench.methods.networks.embedding",)
    slow_from = 1e11
    check_params = {"hidden": 64, "epochs": 12, "batch": 128, "lr": 1e-2, "drop_every": 6}

    hidden: int = param(1024, low=1, high=16384, log=True, help="units of each hidden layer")
    epochs: int = param(50, low=1, high=10000, log=True, help="epochs of ⌈n/batch⌉ steps")
    batch: int = param(256, low=1, high=65536, log=True, help="rows per step")
    lr: float = param(5e-4, low=1e-6, high=1e-1, log=True, help="learning rate of Adam")
    decay: float = param(1e-4, low=0.0, high=1.0, log=True, help="weight decay of Adam (L2); 0: none")
    drop_every: int = param(25, low=1, high=10000, log=True, help="epochs after which the learning rate drops")
    drop: float = param(0.1, low=1e-3, high=1.0, log=True, help="factor by which the learning rate drops; 1: never")
    scale: float = param(5.0, low=0.1, high=100.0, log=True, help="length s of features and prototypes in the logits")
    divide_by: str = param(
        "std",
        choices=("std", "variance", "nothing"),
        help="what class normalisation divides by: std (paper), variance (public code); nothing: no normalisation",
    )
    proper_init: bool = param(True, help="whether the last layer starts with variance 1/(hidden·features) (Eq. 10)")
    output: str = param(
        "auto", choices=("auto", "relu", "linear"), help="last activation; auto: relu where no feature is negative"
    )
    preprocess: str = param("none", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def cost(self, size: Size) -> float:
        """Return steps, times the classes that pass through the network at each, times the weights they meet."""
        steps = self.epochs * -(-size.images // self.batch)
        return float(steps * size.classes * self.hidden * (size.semantics + self.hidden + size.features))

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train the network on seen classes; all of them pass through it at every step."""
        import torch
        from torch.nn import functional

        from zslbench.methods import nn
        from zslbench.methods.networks.embedding import ClassNormNetwork, scaled_cosines

        self.device_ = nn.resolve_device(ctx.device)
        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        arrays = features, positions, scaled_to_root(classes.semantics)
        rows, labels, semantics = (nn.tensor_on(self.device_, array) for array in arrays)
        network = self.network_ = ClassNormNetwork(
            semantics.shape[1],
            self.hidden,
            rows.shape[1],
            divide_by=self.divide_by,
            proper_init=self.proper_init,
            positive=self.output == "relu" or (self.output == "auto" and bool(features.min() >= 0)),
            stream=nn.random_stream(ctx.stream_seed("init")),
        ).to(self.device_)
        batches = nn.row_batches(len(rows), self.batch, nn.random_stream(ctx.stream_seed("batches"), self.device_))
        steps = math.ceil(len(rows) / self.batch)
        adam = nn.adam(network.parameters(), self.lr, betas=(0.9, 0.999), decay=self.decay)
        schedule = torch.optim.lr_scheduler.StepLR(adam, self.drop_every, self.drop)
        weights = self.hidden * (semantics.shape[1] + self.hidden + rows.shape[1])
        self.threads_ = nn.threads_for(2 * len(semantics) * weights)

        def loss_of(picked: Tensor) -> Tensor:
            logits = scaled_cosines(rows[picked], network(semantics), self.scale)
            return functional.cross_entropy(logits, labels[picked])

        def advance(taken: int) -> bool:
            return ctx.progress(taken, self.epochs * steps)

        given = adam, loss_of, batches, self.threads_, advance
        for taken, total, _ in nn.take_steps(self.epochs * steps, steps, *given):
            schedule.step()
            with torch.no_grad():
                network(semantics)  # keeps the statistics of the seen classes under the weights as they are now
            network.eval()
            at = taken // steps, self.epochs
            report_losses(self, ctx, at, {"loss": float(total) / steps}, f"lower lr={self.lr:g}")
            network.train()
        network.eval()
        network.requires_grad_(False)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) scaled cosines s² cos(x, p_c), between −s² and s²."""
        import torch

        from zslbench.methods import nn
        from zslbench.methods.networks.embedding import scaled_cosines

        rows = nn.tensor_on(self.device_, self.preprocessor_.transform(features))
        with torch.no_grad():
            prototypes = self.network_(nn.tensor_on(self.device_, scaled_to_root(classes.semantics)))
            out: Array = scaled_cosines(rows, prototypes, self.scale).cpu().numpy()
        return out
