"""The commands that fill what is lacking: few, as a person would type them, and no run beyond what is asked for."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from zslbench.studies.meaning import Place, method_in
from zslbench.studies.survey import Slot, Survey


@dataclasses.dataclass(frozen=True)
class Where:
    """What a command needs besides the runs.

    Attributes:
        runs: the folder of records; data_root: of data sets, where it was given.
        stage: final or dev; folders: of the user's own data sets, or a word that stands for one.
        elsewhere: whether a data set of the catalogue is not found without naming its folder.
    """

    runs: Path
    data_root: Path | None
    stage: str
    folders: Mapping[Place, str]
    elsewhere: Callable[[Place], bool]


@dataclasses.dataclass(frozen=True)
class _Block:
    """A product of lines, places, protocols, folds and seeds."""

    lines: frozenset[str]
    places: frozenset[Place]
    protocols: frozenset[str]
    folds: frozenset[int]
    seeds: frozenset[int]

    def with_(self, other: _Block) -> _Block:
        return _Block(
            self.lines | other.lines,
            self.places | other.places,
            self.protocols | other.protocols,
            self.folds | other.folds,
            self.seeds | other.seeds,
        )


def commands(survey: Survey, slots: Sequence[Slot], where: Where, rerun: str = "") -> list[str]:
    """Return shell commands that do the runs of `slots`: every other run they name is one of the survey's span.

    Args:
        survey: the span; a command may name more of it than lacks, since finished runs are skipped, but no run that
            only looks missing (`Survey.varied`) unless it is asked for.
        rerun: ``failed`` or ``stale``, for runs that a plain command leaves as they are.
    """
    allowed = _by_cell((survey.states.keys() - survey.varied) | set(slots))
    blocks: list[_Block] = []
    choices = {_choice(slot.place): None for slot in slots}
    for choice in choices:
        own = [slot for slot in slots if _choice(slot.place) == choice]
        blocks += _packed(own, allowed, survey.stochastic)
    return [_command(block, survey, where, rerun, allowed) for block in blocks]


def tune_commands(survey: Survey, where: Where, given: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the commands that make the tuned presets that lines need at places where nothing was tuned.

    `given` holds what was tuned elsewhere under a name, by method and name, in the spec grammar.
    """
    made: dict[tuple[str, str, Place], list[str]] = {}
    for (line, place, protocol), name in survey.untuned.items():
        if line in survey.lines:
            made.setdefault((given.get((method_in(line), name), method_in(line)), name, place), []).append(protocol)
    out = []
    for (method, name, place), rules in made.items():
        protocols = list(dict.fromkeys(rules))
        words = ["zslbench", "tune", method, "-d", dataset_text(place, where)]
        words += _flags("-p", protocols) if sorted(protocols) != ["gzsl", "zsl"] else []
        words += [*_choice_flags(place), *(["--name", name] if name != "tuned" else []), *_ends([place], where)]
        out.append(shlex.join(words))
    return out


def dataset_text(place: Place, where: Where) -> str:
    """Return what is typed for a data set: its name, or the folder of the user's own."""
    if place.origin != "own":
        return place.dataset
    folder = where.folders.get(place)
    return folder if folder is not None else placeholder(place)


def placeholder(place: Place, places: Iterable[Place] = ()) -> str:
    """Return the word that stands for the folder of a data set whose folder no record holds.

    Its content is part of it where other `places` of that name have another.

    >>> placeholder(Place("flo-part", "a", "b", "own"))
    'FOLDER_OF_FLO_PART'
    """
    several = len({other.content for other in places if other.dataset == place.dataset and other.origin == "own"}) > 1
    name = f"{place.dataset} {place.content[:8]}" if several else place.dataset
    return "FOLDER_OF_" + "".join(sign if sign.isalnum() else "_" for sign in name).upper()


DATA_ROOT_PLACEHOLDER = "FOLDER_OF_DATA_SETS"


def _choice(place: Place) -> tuple[str, ...]:
    return ("builtin",) if place.origin == "builtin" else (place.features, place.semantics)


def _choice_flags(place: Place) -> list[str]:
    if place.origin == "builtin":
        return []
    return ["--features", place.features, "--semantics", place.semantics]


_Cells = Mapping[tuple[str, Place, str, int], set[int]]


def _by_cell(slots: Iterable[Slot]) -> _Cells:
    """Return the seeds of runs by line, place, protocol and fold."""
    found: dict[tuple[str, Place, str, int], set[int]] = {}
    for slot in slots:
        found.setdefault((slot.line, slot.place, slot.protocol, slot.fold), set()).add(slot.seed)
    return found


def _packed(slots: Iterable[Slot], allowed: _Cells, stochastic: Mapping[str, bool]) -> list[_Block]:
    """Join runs to products, as long as a product holds nothing but the span."""
    blocks: list[_Block] = []
    for slot in slots:
        one = _Block(
            frozenset([slot.line]),
            frozenset([slot.place]),
            frozenset([slot.protocol]),
            frozenset([slot.fold]),
            frozenset([slot.seed]),
        )
        if any(block.with_(one) == block for block in blocks):
            continue
        for place, block in enumerate(blocks):
            if _within(block.with_(one), allowed, stochastic):
                blocks[place] = block.with_(one)
                break
        else:
            blocks.append(one)
    merged = True
    while merged:
        merged = False
        for first, second in itertools.combinations(blocks, 2):
            if _within(first.with_(second), allowed, stochastic):
                blocks = [block for block in blocks if block not in (first, second)] + [first.with_(second)]
                merged = True
                break
    return blocks


def _within(block: _Block, allowed: _Cells, stochastic: Mapping[str, bool]) -> bool:
    return all(
        allowed.get((line, place, protocol, fold), set()) >= (block.seeds if stochastic[line] else {0})
        for line in block.lines
        for place in block.places
        for protocol in block.protocols
        for fold in block.folds
    )


def _command(block: _Block, survey: Survey, where: Where, rerun: str, allowed: _Cells) -> str:
    lines = [line for line in survey.lines if line in block.lines]
    places = [place for place in survey.places if place in block.places]
    protocols = [rules for rules in survey.protocols if rules in block.protocols]
    words = ["zslbench", "run", *_flags("-m", lines), *_flags("-d", [dataset_text(place, where) for place in places])]
    if sorted(protocols) != ["gzsl", "zsl"]:
        words += _flags("-p", protocols)
    words += _choice_flags(places[0])
    if any(survey.stochastic[line] for line in lines):
        words += _seeds(block, survey, allowed)
    if where.stage == "dev":
        words += ["--stage", "dev", *_flags("--fold", [str(fold) for fold in sorted(block.folds)])]
    words += ["--rerun", rerun] if rerun else []
    return shlex.join([*words, *_ends(places, where)])


def _seeds(block: _Block, survey: Survey, allowed: _Cells) -> list[str]:
    """Return ``--seeds N`` where all seeds below N belong to the span, else each seed."""
    first = frozenset(range(max(block.seeds) + 1))
    if first == {0}:
        return []
    if _within(dataclasses.replace(block, seeds=first), allowed, survey.stochastic):
        return ["--seeds", str(len(first))]
    return _flags("--seed", [str(seed) for seed in sorted(block.seeds)])


def _ends(places: Sequence[Place], where: Where) -> list[str]:
    words = []
    catalogued = [place for place in places if place.origin == "catalogue"]
    if catalogued and where.data_root is not None:
        words += ["--data-root", str(where.data_root)]
    elif any(where.elsewhere(place) for place in catalogued):
        words += ["--data-root", DATA_ROOT_PLACEHOLDER]
    return words + (["--runs", str(where.runs)] if where.runs != Path("runs") else [])


def _flags(flag: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]
