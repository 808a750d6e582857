"""Documents of earlier schemas, brought up to date on reading; what lies on disk stays as it was written.

A change of a record's fields that old documents do not follow raises `SCHEMA` in `record` and adds one
step here: a pure function from a document of one schema to one of the next. The schema is part of a run's identity, so
runs under a new schema have new ids; an old record keeps its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]

FIRST = 1
STEPS: Mapping[int, Step] = {}
"""By the schema that a step begins at. There has been one schema only."""


def migrated(document: dict[str, Any], schema: int, steps: Mapping[int, Step] = STEPS) -> dict[str, Any]:
    """Return a document as it would be in `schema`, its own schema being that or an earlier one.

    Raises:
        ValueError: a schema that never was.
        KeyError, TypeError: the document is not what its schema says; `problem` could not be asked yet.
    """
    while (own := document["schema"]) != schema:
        if own not in steps:
            raise ValueError(f"there has been no schema {own}")
        document = {**steps[own](document), "schema": own + 1}
    return document
