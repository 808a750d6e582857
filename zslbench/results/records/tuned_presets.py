"""What tuning found: one small file per method, data set and protocol, where ``NAME@tuned`` reads its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.documents import Fraction, Whole, convert, decode_json
from zslbench.errors import BadValue, StoreError
from zslbench.files import json_text, read_problem, read_regular, write_text
from zslbench.identity import digest
from zslbench.results.records.record import Record
from zslbench.results.records.store import safe_folder_name
from zslbench.spec import presets_in
from zslbench.visible import title_data

SCHEMA = 1
FOLDER = "tuned"
DEFAULT_NAME = "tuned"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TunedPreset:
    """Hyper-parameters chosen in the dev stage, and how.

    Attributes:
        name: of the preset: ``tuned`` unless another was asked for.
        method, version, source: of the method; source is the digest of its source.
        given: what was tuned, in the spec grammar; what it fixes stayed fixed.
        dataset, features, semantics, fingerprint: the data.
        protocol, metric: what was maximised.
        values: every hyper-parameter of the best point.
        score: mean of `metric` over the folds, a fraction; fold_scores: the metric in each of `folds`.
        space: what was searched, by hyper-parameter, in words.
        at_edge: hyper-parameters whose best value lies at an end of its range.
        sampler, seed, trials: how it was searched; trials counts points by outcome (ok, failed, pruned).
        created: time of day, UTC.
    """

    name: str
    method: str
    version: Whole
    source: str
    given: str
    dataset: str
    features: str
    semantics: str
    fingerprint: str
    protocol: str
    metric: str
    values: Mapping[str, Any]
    score: Fraction
    folds: tuple[Whole, ...]
    fold_scores: tuple[Fraction, ...]
    space: Mapping[str, str]
    at_edge: tuple[str, ...]
    sampler: str
    seed: Whole
    trials: Mapping[str, Whole]
    created: str = ""
    schema: Whole = SCHEMA

    @property
    def id(self) -> str:
        """16 hex digits that name what was found, whenever it was."""
        facts = dataclasses.asdict(self)
        return digest({key: value for key, value in facts.items() if key != "created"})


class PresetStore:
    """The tuned presets of a folder of records: ``<root>/tuned/<method>--<dataset>--…--<name>.json``."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.broken: list[tuple[Path, str]] = []

    def path(
        self, name: str, method: str, dataset: str, features: str, semantics: str, protocol: str, suffix: str = ".json"
    ) -> Path:
        """Return where the preset of one method, data set and protocol is kept."""
        parts = (method, dataset, features, semantics, protocol, name)
        return self.root / FOLDER / ("--".join(map(safe_folder_name, parts)) + suffix)

    def path_of(self, tuned: TunedPreset) -> Path:
        """Return where a preset is kept."""
        return self.path(tuned.name, tuned.method, tuned.dataset, tuned.features, tuned.semantics, tuned.protocol)

    def save(self, tuned: TunedPreset) -> Path:
        """Write a preset and return its path (see `write_text`)."""
        path = self.path_of(tuned)
        write_text(path, json_text(dataclasses.asdict(tuned)), f"the preset {path.name}")
        return path

    def find(
        self, name: str, method: str, dataset: str, features: str, semantics: str, protocol: str
    ) -> TunedPreset | None:
        """Return a preset (see `read`), or None when that was never tuned."""
        path = self.path(name, method, dataset, features, semantics, protocol)
        return self.read(path) if path.exists() else None

    def load(self) -> list[TunedPreset]:
        """Return every preset, in order of their files (see `each`)."""
        return [tuned for _, tuned in self.each()]

    def each(self) -> Iterator[tuple[Path, TunedPreset]]:
        """Yield every file that holds a preset, and that; other files are listed in `broken`, each with the reason."""
        self.broken = []
        for path in sorted((self.root / FOLDER).glob("*.json")):
            try:
                yield path, self.read(path)
            except StoreError as error:
                self.broken.append((path, str(error)))

    @staticmethod
    def read(path: Path) -> TunedPreset:
        """Return the preset in a file.

        Raises:
            StoreError: it is not a tuned preset.
        """
        try:
            tuned = convert(decode_json(read_regular(path)), TunedPreset)
        except FileNotFoundError as error:
            raise StoreError(read_problem(path, error)) from None
        except ValueError as error:
            raise StoreError(
                f"{path} is not a tuned preset ({error}); delete it and tune again, or restore a copy."
            ) from None
        if tuned.schema > SCHEMA:
            raise StoreError(f"{path} has schema {tuned.schema}, this zslbench reads up to {SCHEMA}; upgrade zslbench.")
        return tuned


def is_point_not_picked(record: Record, presets: Sequence[TunedPreset]) -> bool:
    """Return whether a dev record is of a point that a search tried, and no search on the same data picked."""
    data, params = record.dataset, dict(record.method["params"])
    searches = [
        tuned
        for tuned in presets
        if (tuned.method, tuned.protocol) == (record.method["name"], record.protocol["name"])
        and all(getattr(tuned, part) == data.get(part) for part in ("features", "semantics", "fingerprint"))
    ]
    tried = any(
        all(params.get(name) == value for name, value in tuned.values.items() if name not in tuned.space)
        for tuned in searches
    )
    return tried and all(params != dict(tuned.values) for tuned in searches)


def is_replaced(record: Record, presets: Sequence[TunedPreset]) -> bool:
    """Return whether a tuned preset gave a record its values and has others now, since it was tuned again."""
    if record.selection != "validated":
        return False
    data, names = record.dataset, presets_in(record.label)
    place = record.method["name"], data["name"], data.get("features"), data.get("semantics"), record.protocol["name"]
    current = {
        tuned.name: dict(tuned.values)
        for tuned in presets
        if (tuned.method, tuned.dataset, tuned.features, tuned.semantics, tuned.protocol) == place
    }
    return any(name in current for name in names) and dict(record.method["params"]) not in current.values()


def change_since(tuned: TunedPreset, version: int, source: str) -> str:
    """Return what has changed of the method since it was tuned, as the end of a sentence; nothing where nothing has."""
    if tuned.version != version:
        return f"it was tuned for version {tuned.version} of the method, this is {version}"
    return "the source of the method has changed since it was tuned" if tuned.source != source else ""


def check_fits(tuned: TunedPreset, version: int, fingerprint: str, again: str) -> None:
    """Refuse a preset that was tuned for another version of the method, or on other content of the data.

    Raises:
        BadValue: it ends with `again`, the command that makes a preset that fits.
    """
    was_tuned, again = f"{tuned.method}@{tuned.name} was tuned", f"tune again: {again}"
    if tuned.version != version:
        raise BadValue(f"{was_tuned} for version {tuned.version} of the method, this is {version}; {again}")
    if tuned.fingerprint != fingerprint:
        raise BadValue(
            f"{was_tuned} on other content of {title_data(tuned.dataset)} ({tuned.fingerprint}, this is "
            f"{fingerprint}); {again}"
        )
