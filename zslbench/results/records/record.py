"""`Record`: everything that is kept of one run, as one small JSON document."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from msgspec import Meta, Struct, defstruct

from zslbench.documents import Fraction, Whole, convert, decode_json
from zslbench.errors import StoreError
from zslbench.identity import digest
from zslbench.loss_curve import MOST_POINTS
from zslbench.visible import name_data, name_run, names_of_several, title_data

Status = Literal["ok", "failed", "crashed", "timeout", "interrupted", "skipped"]
Stage = Literal["final", "dev"]
Selection = Literal["fixed", "validated", "oracle"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

FIRST, SCHEMA = 1, 1
"""The first schema of records and that of today. It is part of a run's identity: runs of a new schema have new ids."""
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By a schema that old documents have: what makes one of the next. A change of fields that they do not follow raises
`SCHEMA` and adds one here; what lies on disk stays as it was written."""
_CHOSEN = ("selected", "calibrated", "folds", "replaced")
"""What is added to the provenance of a record in memory when it is selected; in a file it would be made up."""
_IDENTITY = {
    "method": ("name", "version", "params"),
    "dataset": ("name", "features", "semantics", "fingerprint", "origin"),
    "protocol": ("name", "version", "params"),
}
_HALF = re.compile("[\ud800-\udfff]")
_Amount = Annotated[float, Meta(ge=0, le=1e18)]


class _Method(Struct):
    name: str
    label: str
    title: str
    params: dict[str, Any]
    version: Whole
    setting: str = ""
    stochastic: bool = True


class _Dataset(Struct):
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: str = ""
    split: str = ""
    first_class: Whole = 0


class _Protocol(Struct):
    name: str
    version: Whole
    params: dict[str, Any]


class _Judged(Struct):
    step: Whole
    metrics: dict[str, Fraction]


_Point = Meta(max_length=MOST_POINTS, description=f"a list of at most {MOST_POINTS}")


class _Losses(Struct):
    step: Annotated[list[Whole], _Point] = []
    values: dict[str, Annotated[list[float | None], _Point]] = {}


class _KeptFeatures(Struct):
    per_class: Whole = 0
    space: str = ""


class _Provenance(Struct):
    """What something is made of later on; whatever else is recorded may be anything."""

    method_source: str | None = None
    zslbench: str = ""
    finished: str = ""
    device: str = ""
    processors: Whole = 1
    precision: str = ""
    limit: str = ""
    seeds_at_once: Whole = 1
    grid_points: Whole = 1
    kept_features: _KeptFeatures | None = None
    kept_model: Mapping[str, Any] | None = None
    checkpoint_every: Whole = 0
    own_folder: str = ""
    data_root: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One run: what it was (identity), its results, and how it was made.

    Beside the type of a field stands the type that its JSON is checked against; mappings may hold more than is declared
    there.

    Attributes:
        id: 16 hex digits, the digest of the identity.
        status: ok, failed (it raised an exception), crashed, timeout, interrupted or skipped.
        method: its label is what was typed (``lisgan@published[souls=5]``), its params are all parameters that it has.
        stage: ``final`` (trainval → test) or ``dev`` (training → validation classes).
        fold: of the dev stage; 0 in the final stage.
        metrics: fractions from 0 to 1 by name; empty unless status is ok.
        curve: one entry per judged checkpoint: ``{"step": 10, "metrics": {...}}``.
        losses: what the method logged while it trained, at most 200 points: the first, the last, and evenly spaced ones
            between them: ``{"step": [1, 2], "values": {"critic": [0.5, 0.25], "generator": [-0.1, None]}}``. The lists
            have equal length and are in the order of logging; None stands for a loss that was not finite, or was not
            logged at that step. Empty if nothing was logged, as in records of earlier versions. A failed run has those
            up to its failure.
        timings: seconds by phase, in all (``total``), and how many of them had already been spent for earlier results
            (``shared``): each result is charged with the time of producing it alone.
        memory: peak bytes by kind.
        provenance: versions, device, digest of the method's source, time of day; ``own_folder``, the absolute path of a
            data set of the user's own, and ``data_root``, that of the folder of data sets if one was named.
        error: traceback of a run that failed.
    """

    id: str
    status: Status
    method: Annotated[Mapping[str, Any], _Method]
    dataset: Annotated[Mapping[str, Any], _Dataset]
    protocol: Annotated[Mapping[str, Any], _Protocol]
    stage: Annotated[str, Stage]
    fold: Whole
    seed: Whole
    selection: Annotated[str, Selection] = "fixed"
    metrics: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)
    curve: Annotated[tuple[Mapping[str, Any], ...], list[_Judged]] = ()
    losses: Annotated[Mapping[str, Any], _Losses] = dataclasses.field(default_factory=dict)
    timings: Mapping[str, _Amount] = dataclasses.field(default_factory=dict)
    memory: Annotated[Mapping[str, int], Mapping[str, _Amount]] = dataclasses.field(default_factory=dict)
    provenance: Annotated[Mapping[str, Any], _Provenance] = dataclasses.field(default_factory=dict)
    error: str = ""
    schema: int = SCHEMA

    @property
    def ok(self) -> bool:
        """Whether the run finished and its metrics count."""
        return self.status == "ok"

    @property
    def label(self) -> str:
        """The spec of the method as it was typed."""
        return str(self.method.get("label") or self.method["name"])

    @property
    def data_choice(self) -> tuple[str, str, str]:
        """Name, features and semantics of the data; what the record lacks is empty."""
        name, features, semantics = (str(self.dataset.get(key) or "") for key in ("name", "features", "semantics"))
        return name, features, semantics

    def name_run(self, with_stems: bool = False) -> str:
        """Return what was run, on one line, with its fold and seed, and if asked for with features and semantics."""
        name = name_data(*self.data_choice) if with_stems else self.dataset["name"]
        return name_run(self.label, name, [self.protocol["name"]], self.stage, self.fold, self.seed)

    @property
    def headline(self) -> str:
        """The method and the data in words, for a sentence."""
        name, *stems = self.data_choice
        facts = ", ".join(map(str, filter(None, [*stems, self.protocol["name"]])))
        return f"{self.label} on {title_data(name)} ({facts})"

    @property
    def seconds_known(self) -> bool:
        """Whether the timings are those of this result alone.

        They are not if several fits were done in the same steps and their time was divided among them (seeds at once).
        """
        together = "seeds_at_once" in self.provenance or "grid_points" in self.provenance
        return not together or "shared" in self.timings

    def has_its_id(self) -> bool:
        """Return whether the id is that of the record's content; an old record's may be of an earlier schema.

        Early records of tuned presets have the id of the same values typed by hand.
        """
        schemas = range(SCHEMA, FIRST - 1, -1)
        return any(self.id == self.make_id(schema, by) for schema in schemas for by in (self.selection, ""))

    def make_id(self, schema: int, selection: str) -> str:
        """Return the id of a run that means what the record's content says."""
        identity: dict[str, Any] = {"stage": self.stage, "fold": self.fold, "seed": self.seed}
        for part, keys in _IDENTITY.items():
            facts = getattr(self, part)
            identity[part] = {key: facts[key] for key in keys if key in facts}
        return digest({"schema": schema, **identity, **validation(selection)})

    def to_json(self) -> str:
        """Return the document, indented, keys in the order of the fields; halves of characters are spelt out.

        An error text has some where it quotes a file name that is not UTF-8.
        """
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        return _HALF.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)

    @classmethod
    def from_json(cls, content: bytes | str, where: str = "record") -> Self:
        """Read a document back.

        Raises:
            StoreError: not JSON, a field that is missing or wrong, or of a later schema.
        """
        try:
            document = decode_json(content)
            if type(schema := document.get("schema")) is not int:
                raise ValueError("schema is not a whole number")
            if schema > SCHEMA:
                raise StoreError(f"{where} has schema {schema}, this zslbench reads up to {SCHEMA}; upgrade zslbench.")
            for old in range(schema, SCHEMA):
                if old not in MIGRATIONS:
                    raise ValueError(f"there has been no schema {schema}")
                document = {**MIGRATIONS[old](document), "schema": old + 1}
            convert(document, _DOCUMENT)
            _check_lengths(document.get("losses", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # a migration meets what was not checked yet
            raise StoreError(f"{where} is not a zslbench record ({error}); delete it or restore a copy.") from None
        document["curve"] = tuple(document.get("curve", ()))
        provenance = document.get("provenance", {})
        document["provenance"] = {name: value for name, value in provenance.items() if name not in _CHOSEN}
        return cls(**{key: value for key, value in document.items() if key in cls.__dataclass_fields__})


def name_runs(records: Sequence[Record]) -> list[str]:
    """Return what was run, a line per record, with features and semantics where there are several of a data set."""
    several = names_of_several(record.data_choice for record in records)
    return [record.name_run(with_stems=record.dataset["name"] in several) for record in records]


def validation(selection: str) -> dict[str, str]:
    """Return what a run's identity says of how its values were selected: nothing where no tuned preset gave them."""
    return {"selection": selection} if selection == "validated" else {}


def _check_lengths(losses: Mapping[str, Any]) -> None:
    steps = len(losses.get("step", ()))
    for name, values in losses.get("values", {}).items():
        if len(values) != steps:
            raise ValueError(f"losses.values.{name} has {len(values)} values for {steps} steps")


def _declare_document() -> type[Struct]:
    """Return what a document must hold: a record's fields, of the types that its annotations name for JSON."""
    hints = get_type_hints(Record, include_extras=True)
    fields = []
    for field in dataclasses.fields(Record):
        extras = getattr(hints[field.name], "__metadata__", ())
        kind = next((extra for extra in extras if not isinstance(extra, Meta)), hints[field.name])
        required = field.default is field.default_factory is dataclasses.MISSING
        fields.append((field.name, kind) if required else (field.name, kind, None))
    return defstruct("Document", fields)


_DOCUMENT = _declare_document()
