"""f-CLSWGAN: feature generating networks (Xian et al., CVPR 2018)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from zslbench.methods import published_gan
from zslbench.methods.base import Ablation, MethodCard, Preset, Setting
from zslbench.methods.generative import GenerativeMethod
from zslbench.params import Between, Dimension


@dataclasses.dataclass(kw_only=True)
class FCLSWGAN(GenerativeMethod):
    """A conditional WGAN whose fakes a pre-trained classifier of seen classes must recognise (Xian et al., 2018)."""

    card: ClassVar[MethodCard] = MethodCard(
        title="f-CLSWGAN",
        summary="conditional WGAN-GP with a classification loss; softmax on synthesised features",
        citation="xian2018fclswgan",
        reference="Xian, Lorenz, Schiele, Akata: Feature Generating Networks for Zero-Shot Learning, CVPR 2018",
        version=3,
        setting=Setting.INDUCTIVE,
        stochastic=True,
        formula="min_G max_D E D(x,a) − E D(x̃,a) − β E(‖∇D(x̂,a)‖ − 1)² − λ E log P(y|x̃)",
        differences=(
            "The last epoch counts. The public code prints every epoch's accuracy on test images; the paper does not "
            "say which epoch its numbers are of.",
            "The gradient penalty of the one-hidden-layer critic is written in closed form: the numbers of a double "
            "backward pass, without it.",
            "Features that are not preprocessed to be non-negative are refused: the generator ends in a ReLU.",
            "The last epoch of the final classifier counts; the public code keeps the one that is best on test images.",
            "By default class vectors are scaled to length 1; the public code takes them as the file has them, and so "
            "does fclswgan@published (semantic_norm=none).",
        ),
    )
    presets: ClassVar[Mapping[str, Preset]] = {
        "published": Preset(
            source="the public commands of each data set, with the epochs of LisGAN's on the same networks; the seen "
            "classifier is trained for 50 epochs, LisGAN's for 100. The public code picks the epoch on test images, "
            "here the last counts",
            values=published_gan.SHARED | {"pretrain_epochs": 50},
            cells=published_gan.fclswgan_cells(),
        ),
        "gasl": Preset(
            source="an independent re-implementation (feng2022gasl, LiangjunFeng/Generative-Any-Shot-Learning), for "
            "AWA2, which the public commands lack; its zsl command for AWA2 reads AWA1. It does not scale features, "
            "and keeps the epoch that is best on test images; here the last counts",
            values=published_gan.SHARED | {"pretrain_epochs": 50, "preprocess": "none"},
            cells=published_gan.fclswgan_gasl_cells(),
        ),
    }
    space: ClassVar[Mapping[str, Dimension]] = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(1e-3, 1.0, log=True, zero=True),
        "epochs": Between(10, 60, log=True),
        "per_class": (100, 300, 600),
        "final_lr": (3e-4, 1e-3, 3e-3),
    }
    ablations: ClassVar[Mapping[str, Ablation]] = {
        "plain": Ablation({"cls_weight": 0.0}, "without the classification loss: the paper's f-WGAN"),
    }
