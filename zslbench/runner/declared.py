"""TOML files whose keys are declared as a msgspec structure: each value checked, and what may be written said."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from zslbench.errors import BadValue, UnknownName

MOST_BYTES = 1_000_000
_SHOWN = 60


def read_toml(path: Path | str, what: str) -> dict[str, Any]:
    """Return the table of a TOML file; `what` it should be, such as "plan".

    Raises:
        BadValue: a file that cannot be read, or is not TOML.
    """
    path = Path(path)
    try:
        if not path.is_file():
            why = "is no file" if path.exists() else "does not exist"
            raise BadValue(f"the {what} {path} {why}; name a TOML file such as the documentation shows.")
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise BadValue(f"the {what} {path} is larger than {MOST_BYTES} bytes; is it a {what}?")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise BadValue(f"the {what} {path} cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError:
        raise BadValue(f"the {what} {path} is not TOML (not UTF-8); save it as UTF-8 text.") from None
    except RecursionError:
        raise BadValue(f"the {what} {path} is nested too deep; see the documentation's example.") from None
    except ValueError as error:
        raise BadValue(f"the {what} {path} is not TOML ({error}); mend it there.") from None


def check_table(table: Mapping[str, Any], declared: Sequence[type[msgspec.Struct]], where: str) -> None:
    """Check that a table has keys that structures declare, with values of their types, texts that can be seen.

    The types are ``Annotated`` with a `msgspec.Meta`, whose description says what may be written.

    Raises:
        BadValue, UnknownName: it has not; `where` begins the sentence.
    """
    kinds = {key: kind for struct in declared for key, kind in get_type_hints(struct, include_extras=True).items()}
    for key, value in table.items():
        if key not in kinds:
            raise UnknownName(f"key in {where}", key, kinds)
        try:
            msgspec.convert(value, kinds[key])
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not (text.strip() and text.isprintable()):
                    raise msgspec.ValidationError
        except (msgspec.ValidationError, RecursionError, OverflowError):
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
            raise BadValue(f"{where}: {key} is {shown}; write {_describe(kinds[key])}.") from None


def _describe(kind: Any) -> str:
    return next(_descriptions(kind), "a value of another kind")


def _descriptions(kind: Any) -> Iterator[str]:
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            yield meta.description
    for part in get_args(kind):
        yield from _descriptions(part)
