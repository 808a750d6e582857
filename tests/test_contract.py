"""The contract checks, over everything registered."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zslbench
from zslbench.checks import check_dataset, check_method, check_protocol
from zslbench.checks.method_checks import CONTRACT as METHOD
from zslbench.checks.protocol_checks import CONTRACT as PROTOCOL
from zslbench.data.dataset import Source
from zslbench.data.dataset_checks import CONTRACT as DATASET
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.results.records.store import ResultStore
from zslbench.spec import parse, write_value

ALL = 25
CLOSED = ALL - 2  # opens no random stream, synthesises nothing
SOLVED = ALL - 3  # and fits one point at a time, without randomness
TRAINED = ALL - 2  # with randomness, one point at a time, nothing synthesised
GENERATIVE = ALL  # points that only score differently share a fit; features of classes are synthesised
TRANSDUCTIVE = ALL - 1  # the same, and rows of a batch may depend on each other
METHOD_CHECKS = {
    "eszsl": CLOSED,
    "eszsl[targets=signed]": CLOSED,
    "sae": CLOSED,
    "sae[direction=f2s]": CLOSED,
    "ridge": CLOSED,
    "ridge[weighting=classes,metric=cosine]": CLOSED,
    "gfzsl": CLOSED,
    "gfzsl[kernel=linear,lam_variance=1,seen=empirical,preprocess=none]": CLOSED,
    "prototype": CLOSED,
    "direct": CLOSED,
    "direct[centre=true]": CLOSED,
    "devise": TRAINED,
    "devise[violators=all]": TRAINED,
    "sje": TRAINED,
    "ale": TRAINED,
    "ale[ranks=sampled]": TRAINED,
    "latem": TRAINED,
    "latem[negative=random]": TRAINED,
    "fclswgan": GENERATIVE,
    "fclswgan[classifier_head=prototype,logit_prior=ratio,entropy_margin=0.1]": GENERATIVE,
    "fvaegan": GENERATIVE,
    "fvaegan[encoded_noise=false,gp_adapt=tf]": GENERATIVE,
    "tfvaegan": GENERATIVE,
    "bivaegan": GENERATIVE,
    "bivaegan[class_prior=test,encoded_noise=false,gp_adapt=tf]": GENERATIVE,
    "zla": GENERATIVE,
    "cyclewgan": GENERATIVE,
    "cyclewgan[cycle_unseen=true]": GENERATIVE,
    "lsrgan": GENERATIVE,
    "lsrgan@inductive": GENERATIVE,
    "centres": GENERATIVE,
    "lisgan": TRANSDUCTIVE,
    "lisgan@S3": GENERATIVE,
    "dap": SOLVED,
    "dap[classifier=svm]": SOLVED,
    "conse": SOLVED,
    "sse": SOLVED,
    "sse[kernel=relu]": SOLVED,
    "sync": SOLVED,
    "sync[loss=cs,lam=0.1]": SOLVED,
    "sync[loss=struct,lam=0.01]": SOLVED,
    "dem": TRAINED,
    "dem[attributes=original,distance=euclid]": TRAINED,
    "cnzsl": TRAINED,
    "cnzsl[divide_by=variance]": TRAINED,
    "cnzsl@plain": TRAINED,
    "cadavae": GENERATIVE,
    "cadavae[std_mode=logvar,noise=scalar,seen_rows=first]": GENERATIVE,
    "sdgzsl": GENERATIVE,
    "sdgzsl@squashed": GENERATIVE,
    "relationnet": TRAINED,
    "cvc": TRAINED,
    "dcn": TRAINED,
    "dcn@no_entropy": TRAINED,
    "gazsl": GENERATIVE,
    "gazsl[output=linear,preprocess=standard]": GENERATIVE,
    "gazsl@no_classes": GENERATIVE,
    "free": GENERATIVE,
    "free[centre_gradients=never,other_centre=nearest]": GENERATIVE,
    "rff": GENERATIVE,
    "rff[centre_gradients=never,other_centre=nearest]": GENERATIVE,
    "cegzsl": GENERATIVE,
    "cegzsl@summed_comparator": GENERATIVE,
}
GENERATORS = [name for name in METHODS.builtin_names() if METHODS.load(name).offers_synthesis()]
BUILTIN = {"digits", "synthetic"}


def test_number_of_checks() -> None:
    assert len(METHOD.checks) == ALL
    assert len(DATASET.checks) == 7
    assert len(PROTOCOL.checks) == 12


def test_every_builtin_is_tried() -> None:
    assert set(METHODS.builtin_names()) == {parse(text).name for text in METHOD_CHECKS}
    assert PROTOCOLS.builtin_names() == ["gzsl", "zsl"]


@pytest.mark.parametrize("text", METHOD_CHECKS)
def test_method_holds_the_contract(text: str) -> None:
    passed = check_method(text)
    assert len(passed) == METHOD_CHECKS[text]
    assert len(set(passed)) == len(passed)


@pytest.mark.parametrize("name", GENERATORS)
def test_bf16_on_a_cpu_ends_is_recorded_and_gives_finite_scores(name: str, tmp_path: Path) -> None:
    given = ",".join(f"{key}={write_value(value)}" for key, value in METHODS.load(name).check_params.items())
    options: dict[str, Any] = {"runs": tmp_path, "device": "cpu", "precision": "bf16"}
    (record,) = zslbench.run(f"{name}[{given}]", "synthetic", "gzsl", **options).records
    assert (record.status, record.provenance.get("precision")) == ("ok", "bf16"), record.error
    assert all(math.isfinite(value) for values in record.losses["values"].values() for value in values)
    kept = ResultStore(tmp_path).predictions(record)
    assert all(np.isfinite(kept[score]).all() for score in ("seen_score", "unseen_score"))


@pytest.mark.parametrize("name", ["zsl", "gzsl"])
def test_protocol_holds_the_contract(name: str) -> None:
    assert len(check_protocol(name)) == 12


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_builtin_data_set_holds_the_contract(name: str) -> None:
    assert len(check_dataset(name)) == 7


def test_every_other_data_set_is_a_source_with_its_counts() -> None:
    names = set(DATASETS.builtin_names()) - BUILTIN
    assert names == {"apy", "awa1", "awa2", "cub", "flo", "sun"}
    for name in names:
        cls = DATASETS.load(name)
        assert issubclass(cls, Source)
        assert cls().card.counts is not None


@pytest.mark.realdata
@pytest.mark.parametrize("semantics", ["att", "sent"])
def test_cub_holds_the_contract(real_data: Path, semantics: str) -> None:
    assert len(check_dataset("cub", features="fc1000", semantics=semantics, root=real_data)) == 7
