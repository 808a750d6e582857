"""The folders of a user's own data that were named for a command, and the runs that are on their content."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zslbench.data.loading import folder_of, load_dataset
from zslbench.errors import ZslbenchError
from zslbench.results.analysis.record_filter import is_dataset
from zslbench.results.records.record import Record
from zslbench.studies.meaning import Place


class Folders:
    """The data sets that a user named: folders, which stand for the content that they have now, and names."""

    def __init__(self, terms: Sequence[str]) -> None:
        self.folders = [term for term in terms if _is_folder(term)]
        self.names = [term for term in terms if term not in self.folders]
        self._contents: dict[tuple[str, str, str], str] = {}

    def on_their_content(self, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Return the records that count, and records that stand for runs that are to be done.

        Records on a folder count where they are on the content that it has now. Where a folder has no such record, the
        second list holds those on its earlier content as if they were on the present one: what was run before is what
        a user would run again.
        """
        if not self.folders:
            return list(records), []
        kept, others = [], []
        for record in records:
            name, data = str(record.dataset["name"]), record.dataset
            if any(is_dataset(name, term) for term in self.names):
                kept.append(record)
                continue
            contents = [
                self._content(term, str(data.get("features", "")), str(data.get("semantics", "")))
                for term in self.folders
                if is_dataset(name, term)
            ]
            if data.get("fingerprint") in contents:
                kept.append(record)
            others += [dataclasses.replace(record, dataset={**data, "fingerprint": now}) for now in contents if now]
        there = {(record.dataset["name"], record.dataset.get("fingerprint")) for record in kept}
        lacking = [one for one in others if (one.dataset["name"], one.dataset["fingerprint"]) not in there]
        return kept, lacking

    def of(self, place: Place) -> str | None:
        """Return the folder that has the content of a place, as it was typed; None where none was named."""
        for term in self.folders:
            if is_dataset(place.dataset, term) and place.content == self._content(
                term, place.features, place.semantics
            ):
                return term
        return None

    def _content(self, term: str, features: str, semantics: str) -> str:
        """Return the fingerprint of a folder's data; empty where it lacks these features or semantics."""
        key = term, features, semantics
        if key not in self._contents:
            try:
                self._contents[key] = load_dataset(term, features=features, semantics=semantics).fingerprint
            except ZslbenchError:
                self._contents[key] = ""
        return self._contents[key]


def _is_folder(term: str) -> bool:
    try:
        return folder_of(term) is not None
    except ZslbenchError:  # it looks like a path, and nothing is there: its last part is a name all the same
        return False
