"""What has to be said of published numbers: how their step was picked, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zslbench.results.published import Published


def nothing_cited(source: str) -> str:
    """Say that a source has no number for this table."""
    which = "" if source == "best" else f" in {source}"
    return f"There are no published numbers{which} for these methods and data sets."


def cited_sentences(entries: Iterable[Published], unlike: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """Return the sentences that published numbers need.

    Args:
        entries: the numbers that are shown.
        unlike: features and semantics that such numbers rest on, to the names of the measured data sets that have
            others.
    """
    lines = []
    if read := sorted({entry.oracle for entry in entries if entry.oracle}, key=str.casefold):
        code = f"{', '.join(read[:-1])} and {read[-1]}" if len(read) > 1 else read[0]
        whose = "their" if len(read) > 1 else "its"
        lines.append(
            f"The public code of {code} picks the epoch on test images: {whose} published numbers are read "
            "as oracle (†)."
        )
    for (features, semantics), groups in unlike.items():
        lines.append(
            f"The published numbers rest on {features} features and {semantics} semantics, unlike the measured ones "
            f"of {', '.join(groups)}: they do not compare directly."
        )
    return lines


def footnote(entry: Published, notes: dict[str, int]) -> int:
    """Return the number of a published number's footnote, 0 without; `notes` receives new ones in reading order."""
    if not entry.note:
        return 0
    return notes.setdefault(f"{entry.source}, {entry.table}: {entry.note}.", len(notes) + 1)
