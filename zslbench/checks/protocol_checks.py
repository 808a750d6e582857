"""`check_protocol`: the contract of protocols, tried on a small data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from zslbench import params, seeding, spec
from zslbench.arrays import AnyArray, Array
from zslbench.contract import Contract, require, require_card, require_parameters
from zslbench.data.builtin import Synthetic
from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split, build_train, split
from zslbench.protocols.protocol import Protocol, ProtocolCard
from zslbench.registry import PROTOCOLS
from zslbench.task import Answers, Query

SEED = 5
_TOLERANCE = 1e-12


def check_protocol(protocol: type[Protocol] | Protocol | str, dataset: Dataset | None = None) -> list[str]:
    """Return the names of the checks that a protocol passes; raise an error at the first that fails.

    Args:
        protocol: a class, an instance, or text as for `zslbench run` (``gzsl``, ``pkg.module:MyProtocol``).
        dataset: what to try it on; by default 40 synthetic classes, 16 of them unseen.

    Raises:
        CheckFailed: a check failed; the error says which, and why.
        UnknownName, Unavailable, BadSpec, BadValue: no such protocol or parameter.
    """
    if isinstance(protocol, str):
        parsed = spec.parse(protocol)
        cls: type[Protocol] = PROTOCOLS.load(parsed.name)
        protocol = cls(**params.resolve(cls, parsed.name, dict(parsed.params)))
    elif isinstance(protocol, type):
        protocol = protocol()
    if dataset is None:
        dataset = Synthetic(classes=40, unseen=16, features=12, images=12).load()
    return CONTRACT.run(CheckedProtocol(protocol, dataset), f"protocol {type(protocol).__name__}")


@dataclasses.dataclass(eq=False)
class CheckedProtocol:
    """A protocol and a data set to try it on."""

    protocol: Protocol
    dataset: Dataset

    @cached_property
    def split(self) -> Split:
        """The split of the final stage."""
        return split(self.dataset)

    @cached_property
    def asked(self) -> tuple[Query, Answers]:
        """The query and its answers."""
        return self.protocol.query(self.dataset, self.split, SEED)

    def metrics(self, scores: Array, answers: Answers | None = None) -> Mapping[str, float]:
        """Return the metrics of (m, k) scores."""
        return self.protocol.judge(answers or self.asked[1], scores).metrics

    def random(self, draw: int) -> Array:
        """Return (m, k) random scores, which contain no information."""
        return seeding.stream(draw, "check_protocol scores").standard_normal(self.perfect.shape)

    @property
    def perfect(self) -> Array:
        """(m, k) scores: 1 for the true class of a row, 0 for others."""
        answers = self.asked[1]
        scores: Array = np.equal(answers.labels[:, None], answers.classes[None]).astype(np.float64)
        return scores


CONTRACT: Contract[CheckedProtocol] = Contract()


@CONTRACT.check("card complete")
def _card(subject: CheckedProtocol) -> None:
    card = getattr(type(subject.protocol), "card", None)
    require_card(card, ProtocolCard, "title", "summary")
    assert card is not None
    require(card.metrics and len(set(card.metrics)) == len(card.metrics), f"its metrics are {card.metrics}.")


@CONTRACT.check("parameters round-trip and refuse what is out of range")
def _parameters(subject: CheckedProtocol) -> None:
    require_parameters(type(subject.protocol))


@CONTRACT.check("the query matches its answers")
def _matches(subject: CheckedProtocol) -> None:
    query, answers = subject.asked
    data = subject.dataset
    require(
        len(query.features) == len(answers.labels) == len(answers.rows), "rows, labels and features differ in number."
    )
    require(
        np.array_equal(query.features, data.features[answers.rows]),
        "a row of the query is not the row of the data set that the answers name.",
    )
    require(np.array_equal(answers.labels, data.labels[answers.rows]), "a label of the answers is not that of its row.")
    require(np.array_equal(query.classes.ids, answers.classes), "query and answers have different candidates.")
    require(
        np.array_equal(query.classes.semantics, data.semantics[answers.classes]),
        "a candidate does not have the semantics of its class.",
    )
    require(
        np.array_equal(answers.unseen, np.isin(answers.classes, subject.split.unseen)),
        "the answers mark the wrong candidates as unseen.",
    )
    require(np.isin(answers.labels, answers.classes).all(), "the true class of a row is not among the candidates.")


@CONTRACT.check("the task leaks no label")
def _leak(subject: CheckedProtocol) -> None:
    query, answers = subject.asked
    train = build_train(subject.dataset, subject.split)
    held = {field.name for field in dataclasses.fields(query)}
    require(held == {"features", "classes"}, f"the query holds {sorted(held)}.")
    require(not np.isin(answers.rows, subject.split.train).any(), "the query contains training rows.")
    for name, array in (("query", query.features), ("training", train.features)):
        inside = np.shares_memory(array, subject.dataset.features)
        require(not inside and array.base is None, f"the data set can be reached from the {name} features.")
        require(not array.flags.writeable, f"the {name} features can be written to.")


@CONTRACT.check("the query is shuffled by the seed")
def _shuffled(subject: CheckedProtocol) -> None:
    (query, answers), dataset = subject.asked, subject.dataset
    same = subject.protocol.query(dataset, subject.split, SEED)
    require(np.array_equal(same[1].rows, answers.rows), "the same seed gives a different order.")
    require(np.array_equal(same[0].features, query.features), "the same seed gives different rows.")
    other = subject.protocol.query(dataset, subject.split, SEED + 1)[1]
    require(not np.array_equal(other.rows, answers.rows), "another seed gives the same order of rows.")
    require(not np.array_equal(other.classes, answers.classes), "another seed gives the same order of candidates.")
    require(np.array_equal(np.sort(other.rows), np.sort(answers.rows)), "another seed asks about different rows.")
    of_unseen = np.isin(answers.labels, answers.classes[answers.unseen])
    marks = {"rows": answers.labels, "rows by side": of_unseen, "candidates": answers.unseen}
    grouped = [name for name, values in marks.items() if _stand_together(values)]
    require(not grouped, f"the order of the {' and the '.join(grouped)} reveals their classes, or which are unseen.")


@CONTRACT.check("metrics lie within 0 and 1 and are those of the card")
def _range(subject: CheckedProtocol) -> None:
    names = list(type(subject.protocol).card.metrics)
    perfect = subject.perfect
    for scores in (0 * perfect, perfect, -perfect, *(subject.random(draw) for draw in range(5))):
        metrics = subject.metrics(scores)
        require(list(metrics) == names, f"metrics are {list(metrics)}, but the card says {names}.")
        for name, value in metrics.items():
            require(isinstance(value, float) and 0 <= value <= 1, f"{name} is {value!r}, not a number from 0 to 1.")


@CONTRACT.check("perfect scores give 1")
def _perfect(subject: CheckedProtocol) -> None:
    for name, value in subject.metrics(subject.perfect).items():
        require(abs(value - 1) < _TOLERANCE, f"{name} of perfect scores is {value}.")
    for name, value in subject.metrics(-subject.perfect).items():
        require(value < _TOLERANCE, f"{name} of scores that are always wrong is {value}.")


@CONTRACT.check("random scores give about chance")
def _chance(subject: CheckedProtocol) -> None:
    answers = subject.asked[1]
    chance = 1 / answers.unseen.sum()
    bound = chance + 5 * math.sqrt(chance / len(answers.labels))
    for name, value in subject.metrics(subject.random(0)).items():
        require(value <= bound, f"{name} of random scores is {value:.3f}, but chance is {chance:.3f}.")


@CONTRACT.check("the order of rows does not matter")
def _rows(subject: CheckedProtocol) -> None:
    answers, scores = subject.asked[1], subject.random(1) + subject.perfect
    order = seeding.stream(SEED, "check_protocol rows").permutation(len(answers.labels))
    reordered = dataclasses.replace(answers, labels=answers.labels[order], rows=answers.rows[order])
    _require_equal(subject, scores[order], reordered, scores, "reordering the rows")


@CONTRACT.check("the order of candidates does not matter")
def _candidates(subject: CheckedProtocol) -> None:
    answers = subject.asked[1]
    order = seeding.stream(SEED, "check_protocol candidates").permutation(len(answers.classes))
    reordered = dataclasses.replace(answers, classes=answers.classes[order], unseen=answers.unseen[order])
    for scores in (subject.random(1) + subject.perfect, 0 * subject.perfect):  # the second: all equal
        _require_equal(subject, scores[:, order], reordered, scores, "reordering the candidates")


@CONTRACT.check("kept predictions give the same metrics again")
def _kept(subject: CheckedProtocol) -> None:
    judged = subject.protocol.judge(subject.asked[1], subject.random(2) + subject.perfect)
    lengths = {name: len(array) for name, array in judged.predictions.items()}
    require(set(lengths.values()) == {len(subject.asked[1].rows)}, f"predictions have lengths {lengths}.")
    again = subject.protocol.metrics(judged.predictions)
    require(again == dict(judged.metrics), f"metrics are {dict(judged.metrics)}, but {again} from predictions.")


@CONTRACT.check("scores of another shape, or not finite, are refused")
def _refused(subject: CheckedProtocol) -> None:
    broken = subject.random(0)
    broken[0, 0] = np.nan
    short = {"with one row fewer": subject.random(0)[1:], "with one candidate fewer": subject.random(0)[:, 1:]}
    for name, scores in {"with NaN": broken, **short}.items():
        try:
            subject.metrics(scores)
        except ValueError:
            continue
        require(False, f"scores {name} are judged.")


def _require_equal(
    subject: CheckedProtocol, scores: Array, reordered: Answers, wanted_scores: Array, change: str
) -> None:
    wanted, metrics = subject.metrics(wanted_scores), subject.metrics(scores, reordered)
    same = all(abs(wanted[name] - value) < _TOLERANCE for name, value in metrics.items())
    require(same, f"{change} changes the metrics from {dict(wanted)} to {dict(metrics)}.")


def _stand_together(marks: AnyArray) -> bool:
    """Return whether equal marks are grouped: there are about as many runs of equal marks as different marks."""
    different = len(np.unique(marks))
    return different > 1 and 1 + int((marks[1:] != marks[:-1]).sum()) <= different + 1
