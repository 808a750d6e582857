"""`Record`: what is kept of one run, as one small JSON document."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Self

from zslbench.errors import StoreError
from zslbench.identity import digest
from zslbench.results.records.migration import FIRST, migrated
from zslbench.results.records.validation import Status, problem, unreadable

SCHEMA = 1
CHOSEN = ("selected", "calibrated", "folds")
"""What selection and calibration add to the provenance of a record in memory; in a file it would be made up."""
_HALF = re.compile("[\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One run: what it was (identity), what came out, and how it came about.

    Attributes:
        id: 16 hex digits, the digest of the identity.
        status: ok, failed (it raised), crashed, timeout, interrupted or skipped.
        method: name, title, version, label (``lisgan@published[souls=5]``), params (all), setting, stochastic.
        dataset: name, features, semantics, fingerprint, origin, split, and counts.
        protocol: name, version, params.
        stage: ``final`` (trainval → test) or ``dev`` (training → validation classes); fold: 0 in the final stage.
        seed: the run's seed.
        selection: fixed, validated or oracle.
        metrics: fractions from 0 to 1 by name; empty unless status is ok.
        curve: one entry a judged checkpoint: ``{"step": 10, "metrics": {...}}``.
        timings: seconds by phase, in all (``total``), and how many of these were spent for earlier results already
            (``shared``): each result is charged with what producing it alone takes. memory: peak bytes by kind.
        provenance: versions, device, digest of the method's source, time of day.
        error: traceback text of a run that failed.
    """

    id: str
    status: Status
    method: Mapping[str, Any]
    dataset: Mapping[str, Any]
    protocol: Mapping[str, Any]
    stage: str
    fold: int
    seed: int
    selection: str = "fixed"
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, int] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""
    schema: int = SCHEMA

    @property
    def ok(self) -> bool:
        """Whether the run finished and its metrics count."""
        return self.status == "ok"

    @property
    def seconds_known(self) -> bool:
        """Whether the timings are those of this result alone.

        They are not where several fits were done in the same steps, whose time was divided among them (seeds at once).
        """
        together = "seeds_at_once" in self.provenance or "grid_points" in self.provenance
        return not together or "shared" in self.timings

    def is_its_id(self) -> bool:
        """Return whether the id is that of what the record says it is of; an old one's may be of an earlier schema."""
        return any(self.id == self._id(schema) for schema in range(SCHEMA, FIRST - 1, -1))

    def _id(self, schema: int) -> str:
        return digest(
            {
                "schema": schema,
                "method": _part(self.method, "name", "version", "params"),
                "dataset": _part(self.dataset, "name", "features", "semantics", "fingerprint", "origin"),
                "protocol": _part(self.protocol, "name", "version", "params"),
                "stage": self.stage,
                "fold": self.fold,
                "seed": self.seed,
            }
        )

    def to_json(self) -> str:
        """Return the document, indented, keys in the order of the fields; halves of characters are spelt out.

        An error text has some where it quotes a file name that is not UTF-8.
        """
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        return _HALF.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)

    @classmethod
    def from_json(cls, text: str, where: str = "record") -> Self:
        """Read a document back.

        Raises:
            StoreError: not JSON, a field that is missing or wrong, or of a later schema.
        """
        try:
            found = json.loads(text)
            wrong = unreadable(found, text)
        except RecursionError:
            wrong = "it is nested too deep"
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise StoreError(f"{where} is not a zslbench record ({wrong}); delete it or restore a copy.")
        if found["schema"] > SCHEMA:
            raise StoreError(
                f"{where} has schema {found['schema']}, this zslbench reads up to {SCHEMA}; upgrade zslbench."
            )
        if found["schema"] != SCHEMA:
            try:
                found = migrated(found, SCHEMA)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise StoreError(f"{where} is not a zslbench record ({error}); delete it or restore a copy.") from None
        if wrong := problem(found):
            raise StoreError(f"{where} is not a zslbench record ({wrong}); delete it or restore a copy.")
        found["curve"] = tuple(found.get("curve", ()))
        found["provenance"] = {name: value for name, value in found.get("provenance", {}).items() if name not in CHOSEN}
        return cls(**{key: value for key, value in found.items() if key in cls.__dataclass_fields__})


def _part(facts: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: facts[key] for key in keys if key in facts}
