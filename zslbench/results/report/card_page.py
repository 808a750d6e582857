"""The page of one data set: sections of tables and figures as one HTML file that loads nothing."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Mapping

from zslbench.results.report.figures import Figure
from zslbench.results.report.page import make_environment
from zslbench.results.tables.table import Table
from zslbench.visible import visible


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: an anchor, a title, tables with their remarks, and figures."""

    anchor: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()


@dataclasses.dataclass(frozen=True)
class CardPage:
    """The page: `tiles` are numbers and what they count, `facts` terms and what is said of them."""

    title: str
    version: str
    tiles: tuple[tuple[str, str], ...]
    facts: Mapping[str, str]
    sections: tuple[Section, ...]


def card_html(page: CardPage) -> str:
    """Return the page as one HTML document with a content security policy that lets nothing in or out."""
    from markupsafe import Markup

    files = importlib.resources.files("zslbench.results.report")
    template, css = (files.joinpath(name).read_text(encoding="utf-8") for name in ("card.html.jinja", "report.css"))
    return visible(make_environment().from_string(template).render(page=page, css=Markup(css), safe=Markup))
