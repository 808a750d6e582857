"""Parts of the reference made while the site is built: ``<!-- made: NAME -->`` in a page stands where one goes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import click

import zslbench
from builders.markdown import literal, table
from builders.notebook_page import notebook
from zslbench import data, results
from zslbench.inspection import Info, Registered, info, list_
from zslbench.metrics import ACCURACIES
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.results import bibliography
from zslbench.results.analysis.published import KINDS, PROTOCOL, USUAL_FEATURES, Published, find_rivals, load, sources

_MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
_COUNTS = {
    "attributes": "attributes",
    "seen": "seen",
    "unseen": "unseen",
    "images": "images",
    "trainval": "trainval",
    "test seen": "test, seen",
    "test unseen": "test, unseen",
}


def fill_marks(page: str, program: click.Group) -> str:
    """Return a page with each mark replaced by what it names.

    Args:
        page: Markdown.
        program: the command line.

    Raises:
        KeyError: a mark names what nobody makes.
    """
    makers: Mapping[str, Callable[[], str]] = {
        "ablations": ablations,
        "datasets": datasets,
        "differing": differing,
        "functions": functions,
        "notebook": notebook,
        "presets": presets,
        "protocols": protocols,
        "published": published,
        "verbs": lambda: verbs(program),
    }
    return _MARK.sub(lambda mark: makers[mark[1]](), page)


def verbs(program: click.Group, name: str = "zslbench") -> str:
    """Return a table of a program's verbs and a section for each, those of a group after it."""
    parts = [_verb_table(program)]
    for path, command in _walk_commands(program, name):
        parts += _command_section(path, command)
    return "\n\n".join(parts)


def _walk_commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _walk_commands(command, f"{path} {name}")


def _verb_table(program: click.Group) -> str:
    rows = [
        (f"[`{name}`](#{_anchor(name)})", literal(command.get_short_help_str(limit=200)))
        for name, command in sorted(program.commands.items())
    ]
    return table(("verb", "what it does"), rows)


def _anchor(path: str) -> str:
    return path.removeprefix("zslbench ").replace(" ", "-")


def _command_section(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path)
    anchor = _anchor(path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [
        f"## {anchor.replace('-', ' ', 1)} {{ #{anchor} }}",
        f"```text\n{usage}\n```",
        *map(_help_paragraph, inspect.cleandoc(command.help or "").split("\n\n")),
    ]
    if not isinstance(command, click.Group):
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        parts.append(table(("option", "meaning"), [_option_row(one, context) for one in options]))
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("zslbench ")]
    if examples:
        parts.append("\n".join(["```sh", *examples, "```"]))
    return [part for part in parts if part]


def _help_paragraph(text: str) -> str:
    """Return a paragraph of a help text; one that begins with a backspace keeps its lines, as it does on a terminal."""
    before, mark, kept = text.partition("\b\n")
    return f"```text\n{kept}\n```" if mark and not before else literal(text)


def _option_row(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    takes = "" if option.is_flag or option.count else option.make_metavar(context)
    _, text = option.get_help_record(context) or ("", "")
    return f"{names} {literal(takes).replace('|', '|<wbr>')}".strip(), literal(text)


def datasets() -> str:
    """Return a table of the data sets' counts, and a section for each."""
    known = [info(name) for name in DATASETS.builtin_names()]
    heads = ("data set", "name", *_COUNTS.values(), "features, semantics")
    rows = [
        (f"[{one.title}](#{one.name})", f"`{one.name}`", *(one.facts[key] for key in _COUNTS), _file_stems(one))
        for one in known
        if "images" in one.facts
    ]
    parts = [table(heads, rows)]
    for one in known:
        entry = bibliography.bibtex(one.facts.get("citation", ""))
        parts += [_heading(one), f"`{one.name}`. {literal(one.summary)}", *_parameter_table(one)]
        parts += [f"```bibtex\n{entry}\n```"] if entry else []
    return "\n\n".join(parts)


def protocols() -> str:
    """Return a section for each protocol."""
    parts = []
    for one in map(info, PROTOCOLS.builtin_names()):
        parts += [
            _heading(one),
            f"`{one.name}`, version {one.facts['version']}. {literal(one.summary)}.",
            *_parameter_table(one),
        ]
    return "\n\n".join(parts)


def presets() -> str:
    """Return a table of the presets that come with methods: their source, and the data that they are for."""
    return table(
        ("preset", "source", "for"), [(*_preset_row(one), one.reference) for one in _list_presets(of_ablations=False)]
    )


def ablations() -> str:
    """Return a table of the ablations that come with methods."""
    return table(("text", "meaning"), [_preset_row(one) for one in _list_presets(of_ablations=True)])


def _list_presets(of_ablations: bool) -> list[Registered]:
    presets = [row for row in list_("presets", runs="") if row.name.partition("@")[0] in METHODS.builtin_names()]
    return [row for row in presets if (row.reference == "ablation") == of_ablations]


def _preset_row(preset: Registered) -> tuple[str, str]:
    return f"[`{preset.name}`](../methods/{preset.name.partition('@')[0]}.md)", literal(preset.summary)


def _heading(one: Info) -> str:
    return f"## {one.title} {{ #{one.name} }}"


def _file_stems(one: Info) -> str:
    return f"`{one.facts['features']}`, `{one.facts['semantics']}`"


def _parameter_table(one: Info) -> list[str]:
    if not one.params:
        return []
    rows = [(f"`{name}`", literal(default), literal(takes), literal(text)) for name, default, takes, text in one.params]
    return [table(("parameter", "default", "takes", "meaning"), rows)]


def functions() -> str:
    """Return a directive for each function of `zslbench`, of `zslbench.data` and of `zslbench.results`."""
    return "\n\n".join(
        f"::: {one.__module__}.{one.__qualname__}\n    options:\n      heading: {heading}\n      toc_label: {heading}"
        for module in (zslbench, data, results)
        for name in dir(module)
        if not name.startswith("_") and inspect.isfunction(one := getattr(module, name))
        for heading in [f"{module.__name__}.{name}"]
    )


def published() -> str:
    """Return a section for each source of published numbers, and in it a table for each of the source's."""
    parts = []
    for source in sources():
        parts += [f"## {source}", f"```bibtex\n{bibliography.bibtex(source)}\n```"]
        own = [one for one in load() if one.source == source]
        for key in dict.fromkeys(map(_table_key, own)):
            parts += _cited_table(_table_name(*key), [one for one in own if _table_key(one) == key])
    return "\n\n".join(parts)


def differing() -> str:
    """Return a table of the cells of which several sources print different numbers; re-runs are left out."""
    cells: dict[tuple[str, str, str, str, bool], dict[str, dict[str, Published]]] = {}
    for entry in load():
        if rivals := find_rivals(entry) if entry.kind in ("measured", "quoted") else []:
            of_data = entry.dataset, f"{entry.features}, {entry.semantics}", entry.transductive
            cell = cells.setdefault((entry.method, PROTOCOL[entry.metric], *of_data), {})
            for printed in (entry, *rivals):
                cell.setdefault(printed.cited_from, {})[printed.metric] = printed
    rows = []
    for (_, _, dataset, described, _), by_source in cells.items():
        title = _method_link(next(iter(next(iter(by_source.values())).values())))
        texts = [f"{source}: {_cell(list(cited.values()), {})}" for source, cited in by_source.items()]
        rows.append((title, f"{_dataset_title(dataset)} ({described})", "; ".join(sorted(texts, key=len))))
    return table(("method", "data set", "printed"), rows)


def _table_key(entry: Published) -> tuple[str, str, str, str]:
    return entry.table, entry.kind, entry.features, entry.semantics


def _table_name(name: str, kind: str, features: str, semantics: str) -> str:
    """Return the name of a table, and what its numbers are where they are second-hand or on other data."""
    data = f"{features}, {semantics}"
    details = [KINDS[kind]] + [data] * (data != f"{USUAL_FEATURES}, att")
    return ": ".join([name, ", ".join(detail for detail in details if detail)]).removesuffix(": ")


def _cited_table(name: str, cited: Sequence[Published]) -> list[str]:
    letters = {note: chr(ord("a") + place) for place, note in enumerate(dict.fromkeys(o.note for o in cited if o.note))}
    parts = [f"### {name}"]
    for protocol in ("zsl", "gzsl"):
        cells: dict[tuple[str, str], list[Published]] = {}
        titles = {one.method + one.marks: one for one in cited}
        for one in cited:
            if PROTOCOL[one.metric] == protocol:
                cells.setdefault((one.method + one.marks, one.dataset), []).append(one)
        data = list(dict.fromkeys(dataset for _, dataset in cells))
        rows = [
            (_method_link(titles[method]), *(_cell(cells.get((method, dataset), ()), letters) for dataset in data))
            for method in dict.fromkeys(method for method, _ in cells)
        ]
        if rows:
            parts.append(table(("T1" if protocol == "zsl" else "U / S / H", *map(_dataset_title, data)), rows))
    parts.append("\n".join(f"* ({letter}) {literal(note)}." for note, letter in letters.items()))
    return [part for part in parts if part]


def _cell(cited: Sequence[Published], letters: dict[str, str]) -> str:
    marks = ", ".join(sorted({letters[one.note] for one in cited if one.note in letters}))
    whole = not cited or len(cited) == len(ACCURACIES[PROTOCOL[cited[0].metric]])
    text = " / ".join(f"{one.value:.1f}" if whole else f"{one.metric} {one.value:.1f}" for one in cited) + (
        f" ({marks})" if marks else ""
    )
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _method_link(entry: Published) -> str:
    """Return the title of a method with its marks, linked to its page where zslbench has the method."""
    name, title = entry.method.partition(":")[0], literal(entry.title)
    return (f"[{title}](../methods/{name}.md)" if name in METHODS.builtin_names() else title) + entry.marks


def _dataset_title(dataset: str) -> str:
    return str(DATASETS.load(dataset).card.title)  # type: ignore[attr-defined]
