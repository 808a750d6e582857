"""DAP, CONSE, SSE and SYNC on real CUB features: floors that a broken method misses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from zslbench.data.dataset import Dataset
from zslbench.data.loading import load_dataset
from zslbench.data.splits import split, training
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method
from zslbench.methods.classifiers.conse import CONSE
from zslbench.methods.classifiers.dap import DAP
from zslbench.methods.classifiers.sse import SSE
from zslbench.methods.classifiers.sync import SYNC
from zslbench.protocols.zsl import ZSL

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def cub(real_data: Path) -> Dataset:
    return load_dataset("cub", features="fc1000", semantics="att", root=real_data)


def dev_accuracy(dataset: Dataset, method: Method, step: int) -> float:
    """T1 in percent on the first dev fold after training on every `step`th row: 50 validation classes, chance is 2."""
    chosen = split(dataset, "dev", 1)
    train = training(dataset, chosen)
    method.fit(dataclasses.replace(train, features=train.features[::step], labels=train.labels[::step]), Context())
    query, answers = ZSL().query(dataset, chosen, 0)
    return 100 * ZSL().judge(answers, method.scores(query.features, query.classes)).metrics["T1"]


@pytest.mark.parametrize(
    ("method", "floor", "step"),
    [
        (DAP(l2=0.3), 33, 5),
        (CONSE(l2=0.1, top=5), 30, 5),
        (SSE(kernel="relu", gamma=1.0, l2_w=1e-4, turns=0, iterations=15), 40, 5),
        (SYNC(preprocess="standard+l2", lam=2.0**-14, scale=0.5), 46, 1),
    ],
    ids=["dap", "conse", "sse", "sync"],
)
def test_cub_lies_where_the_published_value_is(cub: Dataset, method: Method, floor: float, step: int) -> None:
    assert dev_accuracy(cub, method, step) >= floor


def test_dap_is_not_defined_for_the_sentences_of_cub(real_data: Path) -> None:
    sentences = load_dataset("cub", features="fc1000", semantics="sent", root=real_data)
    with pytest.raises(BadValue, match="not defined for sentences"):
        DAP().fit(training(sentences, split(sentences, "final")), Context())
