"""LaTeX tables: what LaTeX would trip over, under any name; and real pdflatex, which must not warn of anything."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compiled_latex import compiled
from result_records import WITHOUT_LEFT_OUT, check_golden, pair, paper_study, record, saved, table

from zslbench.errors import BadValue
from zslbench.results import bibliography
from zslbench.results.tables.latex import escape, text_width
from zslbench.results.tables.render import render
from zslbench.results.tables.table import Cell, Remark, text_table

pytestmark = WITHOUT_LEFT_OUT

HOSTILE = "a_b%c&d#e\\f{g}$h~i^j|k*l<m>`é日本\n[n]"


def latex_of(folder: Path, title: str, **options: Any) -> str:
    """Return a table of one method with this title."""
    return table(saved(folder, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), title=title)), format="latex", **options)


def test_golden_of_hostile_names_in_latex(tmp_path: Path) -> None:
    hostile = {"title": HOSTILE, "label": f"mine[name='{HOSTILE}']", "params": {"name": HOSTILE}}
    records = pair("mine", HOSTILE, 0, (0.5, 0.04, 1.0, 0.1), features="f_1", semantics="s&t", **hostile)
    records += pair("*", HOSTILE, 0, (0.4, 0.3, 0.5, 0.1), features="f_1", semantics="s&t", title="*[x]")
    check_golden("hostile.tex", table(saved(tmp_path, records), format="latex", caption="full"))


def check_latex(text: str) -> None:
    """Check what LaTeX would trip over: environments, braces, column counts, bare special characters."""
    comments = re.match(r"% needs \\usepackage\{booktabs\}\n(?:% names hold [^\n]*\n)?", text)
    assert comments
    text = text[comments.end() :]
    begun: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        assert kind == "begin" or begun.pop() == name
        begun += [name] if kind == "begin" else []
    assert not begun
    bare = re.sub(r"\\[\\{}%&#_$]|~(?=·)", "", text)
    assert bare.count("{") == bare.count("}")
    assert not set(bare) & set("%#~|<>"), set(bare) & set("%#~|<>")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[_^]", re.sub(r"\$[^$]*\$", "", bare))
    assert not re.search(r"\\\\\s*[\[*]", text)
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 3
        for line in lines:
            spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans) == len(columns)
        for first, last in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", body):
            assert 2 <= int(first) <= int(last) <= len(columns)
        assert body.count(r"\toprule") == body.count(r"\bottomrule") == 1


@pytest.mark.parametrize("facts", [{}, {"published": "li2019lisgan"}, {"metrics": ["H"]}, {"rank_together": True}])
def test_latex_is_well_formed(study_runs: Path, facts: dict[str, Any]) -> None:
    check_latex(table(study_runs, format="latex", **facts))


@pytest.mark.parametrize("text", [HOSTILE, "[x]", "*", "", "\\", "~", "^", "$", "\\\\", "a\r\nb", "\x1b[31m", "100%"])
def test_latex_takes_any_name(tmp_path: Path, text: str) -> None:
    name = text or "empty"
    records = pair("m", name, 0, (0.5, 0.1, 0.2, 0.1), title=text, label=f"m[k='{text}{'x' * 30}']", params={"k": text})
    records += pair("n", "other", 0, (0.5, 0.1, 0.2, 0.1), features=name, semantics=name)
    folder = saved(tmp_path, records)
    check_latex(table(folder, format="latex"))
    for other in ("terminal", "markdown"):
        assert "\x1b" not in table(folder, format=other)
    assert {row["dataset"] for row in json.loads(table(folder, format="json"))} == {name, "other"}


@pytest.mark.parametrize(("name", "beyond"), [("é Łódź", False), ("αβλς ΑΓΩ", False), ("日本", True), ("ж", True)])
def test_characters_that_pdflatex_lacks_are_said(tmp_path: Path, name: str, beyond: bool) -> None:
    text = latex_of(tmp_path, name)
    check_latex(text)
    assert ("compile with lualatex" in text) == beyond
    alone = latex_of(tmp_path, name, standalone=True)
    font = "% names hold characters that pdflatex lacks: compile with lualatex or xelatex"
    assert (alone.startswith(font), r"\usepackage{fontspec}" in alone) == (beyond, beyond)


def test_greek_is_mathematics(tmp_path: Path) -> None:
    assert r"$\alpha$$\lambda$$\varsigma$$o$$\mathrm{A}$$\Gamma$" in latex_of(tmp_path, "αλςοΑΓ")


def test_what_is_special_is_escaped_as_pandas_does() -> None:
    import pandas as pd

    signs = [*map(chr, range(32, 127)), "é", "日"]
    texts = [f"a{sign}{between}b" for sign in signs if sign not in "<>|" for between in ("", " ", "~ ")]
    shown = pd.DataFrame(texts).style.hide(axis="index").hide(axis="columns").format(escape="latex").to_latex()
    by_pandas = [line.removesuffix(r" \\") for line in shown.splitlines()[1:-1]]
    assert list(map(escape, texts)) == by_pandas
    assert escape("±λ<>|") == r"$\pm$$\lambda$\textless{}\textgreater{}\textbar{}"


def test_words_are_escaped_and_take_several_lines_in_latex() -> None:
    rows = [("x_1 ‡", Cell("1.0", "0.1"), "α = {1} " * 9), ("[y", "−2", "")]
    below = (Remark("note", "A sentence with # and ≤."),)
    text = render(text_table("50 % of cub_x", ("a&b", "c", "what it is"), rows, words=[2], remarks=below), "latex")
    check_latex(text)
    assert r"50 \% of cub\_x" in text
    assert r"a\&b & c & what it is" in text
    assert r"x\_1 $^{\ddagger}$ & 1.0{\scriptsize$\,\pm\,$0.1} & $\alpha$ = \{1\}" in text
    assert text.count(r"\\" + "\n") == 1 + 3 + 1  # heads, three lines of words, the other row
    assert r"{}[y & \phantom{0}$-$2 & " in text  # else the line break before it takes [ for its argument
    assert r"with \# and $\leq$" in text


def test_numbers_with_fewer_decimals_stand_below_the_same_decimal_point() -> None:
    cells = (Cell("142.80", "0.10"), Cell("23.5"), Cell("3.5", "0.2"))
    shown = text_table("", ("name", "T1"), [(name, cell) for name, cell in zip("abc", cells, strict=True)])
    text = render(shown, "latex")
    check_latex(text)
    assert r"b & \phantom{0}23.5\phantom{0} \\" in text
    assert r"c & \phantom{00}3.5\phantom{0}{\scriptsize$\,\pm\,$0.2} \\" in text
    lines = render(shown, "terminal").splitlines()[-3:]
    assert lines == ["a     142.80 ± 0.10", "b      23.5", "c       3.5  ± 0.2"]


# --- compiled ------------------------------------------------------------------------------------------------------

ENDING = "_with a long name & 100%, #1 ~{x}^2 $y$ \\z Łódź-été"
PAGES = {
    "one column": r"\documentclass{article}\usepackage{booktabs}",
    "two columns": r"\documentclass[twocolumn]{article}\usepackage{booktabs}\setlength{\textwidth}{6.875in}"
    r"\setlength{\columnsep}{0.3125in}\setlength{\columnwidth}{3.28125in}\setlength{\hsize}{\columnwidth}"
    r"\setlength{\oddsidemargin}{-0.2in}",
}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {"params": {"hidden": 4096, "epochs": 40}, "label": "m[hidden=4096,epochs=40,preprocess=standard+minmax]"}
    return saved(tmp_path_factory.mktemp("long"), paper_study(ENDING, **facts))


def check_clean(log: str) -> None:
    assert "Overfull" not in log, re.findall(r"Overfull.*", log)
    assert "Warning" not in log, re.findall(r".*Warning.*", log)


def page(kind: str, body: str) -> str:
    return rf"{PAGES[kind]}\begin{{document}}Text.{body}\end{{document}}"


@pytest.mark.parametrize("kind", PAGES)
def test_every_layout_fits_any_page(pdflatex: str, paper_runs: Path, long: Path, kind: str, tmp_path: Path) -> None:
    tables = {
        f"{place}{layout}{published}": table(runs, layout=layout, format="latex", published=published, caption="full")
        for place, runs in enumerate((paper_runs, long))
        for layout in ("full", "zsl", "gzsl")
        for published in ((None, "best"), ("li2019lisgan",))[place]
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    body = "\n".join(rf"Text.\input{{{name}}}\clearpage" for name in tables)
    check_clean(compiled(pdflatex, tmp_path, page(kind, body)))


def test_tables_for_a_wide_page_fit_it(pdflatex: str, paper_runs: Path, tmp_path: Path) -> None:
    texts = [
        table(paper_runs, layout=layout, format="latex", width="page", published="best")
        for layout in ("full", "zsl", "gzsl")
    ]
    check_clean(compiled(pdflatex, tmp_path, page("two columns", "\n".join(texts))))
    narrower = table(paper_runs, layout="gzsl", format="latex", published="best")
    assert _most_columns(narrower) < _most_columns(texts[2])


def _most_columns(text: str) -> int:
    return max(len(columns) for columns in re.findall(r"\\begin\{tabular\}\{(l+)\}", text))


@pytest.mark.parametrize("layout", ["full", "zsl", "gzsl"])
def test_a_document_of_its_own_compiles_as_it_is(pdflatex: str, long: Path, layout: str, tmp_path: Path) -> None:
    text = table(long, layout=layout, format="latex", published="li2019lisgan", standalone=True)
    log = compiled(pdflatex, tmp_path, text)
    check_clean(log)
    assert "(1 page" in log


def test_statistics_compile_too(pdflatex: str, real_data: Path, tmp_path: Path) -> None:
    names = ["apy", "awa1", "awa2", "flo", "sun", "digits"]
    options = {"layout": "stats", "datasets": names, "data_root": real_data, "format": "latex"}
    check_clean(compiled(pdflatex, tmp_path, table(**options, standalone=True)))
    text = table(**options)
    for kind in PAGES:
        check_clean(compiled(pdflatex, tmp_path, page(kind, text)))


@pytest.mark.parametrize("kind", PAGES)
def test_several_tables_of_words_fit_a_page(pdflatex: str, tmp_path: Path, kind: str) -> None:
    heads = ("difference", "metric", "points", "95 % interval", "what it is")
    words = "strong ridge " * 9
    rows = [
        (f"ESZSL[gamma={n}] − LisGAN@S3‡", "H", Cell(f"−{n}.1", "0.3"), f"[−{n}.8, +0.4]", words)
        for n in range(1, 40, 5)
    ]
    tables = [text_table(f"cub_{number}: 50 % of it", heads, rows, words=[1, 4]) for number in (1, 2, 3)]
    check_clean(compiled(pdflatex, tmp_path, page(kind, render(tables, "latex"))))


def test_more_methods_than_a_page_holds_go_into_several_floats(pdflatex: str, tmp_path: Path) -> None:
    records = [
        one for k in range(130) for one in pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), label=f"m[k={k}]", params={"k": k})
    ]
    text = table(saved(tmp_path / "runs", records), layout="gzsl", format="latex")
    assert len(set(re.findall(r"m\[k=(\d+)\]", text))) == 130
    assert text.count(r"\caption") == 1
    check_clean(compiled(pdflatex, tmp_path, page("one column", text)))


def test_widths_are_those_of_latex_rounded_up(pdflatex: str, tmp_path: Path) -> None:
    texts = [
        "DAP", "f-CLSWGAN", "LisGAN@S3", "43.3", "100.0", "ESZSL[gamma=1000]", "a_b%c&d#e", "preprocess=standard+clip",
        "Wörter mit Löchern", "The quick brown fox jumps over the lazy dog", "<=>|~^\\{}", "f(x), $9", "WMwm±×–",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz0123456789", "!\"'*/:;?`",
    ]  # fmt: skip
    lines = [rf"\settowidth{{\dimen0}}{{{escape(text)}}}\typeout{{WIDTH \the\dimen0}}" for text in texts]
    log = compiled(pdflatex, tmp_path, page("one column", r"\footnotesize " + "\n".join(lines)))
    measured = [float(found) for found in re.findall(r"WIDTH ([\d.]+)pt", log)]
    assert len(measured) == len(texts)
    for text, width in zip(texts, measured, strict=True):
        assert 0.995 * width <= text_width(text) <= 1.2 * width + 1, text  # LaTeX kerns


# --- an author's own caption and label -----------------------------------------------------------------------------


def test_own_words_stand_as_they_are_before_the_marks_and_a_label_follows(pdflatex: str, tmp_path: Path) -> None:
    runs = saved(tmp_path / "runs", pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), setting="transductive"))
    own = {"caption_text": r"\emph{GZSL} at $\gamma = 1$, 50\,\%.", "label": "tab:gzsl"}
    text = table(runs, format="latex", **own)
    marks = r"$^{\ddagger}$ transductive: unlabelled test features are used."
    assert rf"\caption{{{own['caption_text']} {marks}}}" + "\n\\label{tab:gzsl}\n" in text
    log = compiled(pdflatex, tmp_path, page("one column", text + r"\typeout{NUMBER \csname r@tab:gzsl\endcsname}"))
    assert "multiply" not in log
    assert r"newlabel{tab:gzsl}{{1}" in (tmp_path / "page.aux").read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"caption_text": "50 % of it"}, r"% begins a comment"),
        ({"caption_text": "a } b {"}, "braces do not match"),
        ({"caption_text": "a {b"}, "braces do not match"),
        ({"caption_text": "a \\"}, "ends with a backslash"),
        ({"label": "a b"}, "label 'a b' is not allowed"),
        ({"label": "x", "caption": "none"}, "add --caption-text"),
        ({"label": "x", "standalone": True}, "nothing refers to it"),
        ({"label": "x", "format": "markdown"}, "not for format markdown"),
    ],
)
def test_what_latex_would_trip_over_is_refused(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    runs = saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1)))
    with pytest.raises(BadValue, match=problem):
        table(runs, **{"format": "latex", **options})


def test_escaped_signs_are_no_problem(tmp_path: Path) -> None:
    runs = saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1)))
    assert r"\caption{5 \% \{x\} \\" in table(runs, format="latex", caption_text=r"5 \% \{x\} \\")


def test_without_a_caption_there_is_none(tmp_path: Path) -> None:
    runs = saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1)))
    assert "caption" not in table(runs, format="latex", caption="none")


def test_a_full_caption_begins_with_what_the_numbers_are(tmp_path: Path) -> None:
    runs = saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), label="m[k=3]", params={"k": 3}))
    text = table(runs, format="latex", caption="full")
    assert re.search(r"\\caption\{ZSL and GZSL accuracy in percent.* Split: .* Parameters: m: k=3\. Selection: ", text)


def test_only_a_table_with_a_number_is_continued_under_it(long: Path) -> None:
    for caption, continued in (("short", True), ("none", False)):
        text = table(long, layout="full", format="latex", caption=caption)
        assert text.count(r"\begin{table*}") > 1
        assert (r"\thetable" in text) == continued


# --- citations -----------------------------------------------------------------------------------------------------


def test_methods_and_published_sources_are_cited_with_the_keys_of_the_bibliography(
    pdflatex: str, tmp_path: Path
) -> None:
    records = [*pair("eszsl", "cub", 0, (0.5, 0.1, 0.2, 0.1)), *pair("near:Near", "cub", 0, (0.4, 0.1, 0.2, 0.1))]
    options = {"format": "latex", "layout": "gzsl", "published": "li2019lisgan", "cite": True}
    text = table(saved(tmp_path / "runs", records), **options, bibtex=tmp_path / "refs.bib")
    cited = set(re.findall(r"\\cite\{(\w+)\}", text))
    assert {"romera2015eszsl", "li2019lisgan", "xian2018fclswgan"} <= cited
    assert not re.search(r"Near.*cite", text)
    assert r"\emph{published}~\cite{li2019lisgan}" in text
    entries = read_bibtex((tmp_path / "refs.bib").read_text(encoding="utf-8"))
    assert cited | {"wah2011cub", "xian2018gbu"} == entries.keys()
    body = text + r"\bibliographystyle{plain}\bibliography{refs}"
    compiled(pdflatex, tmp_path, page("two columns", body))
    done = subprocess.run(["bibtex", "page"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout, done.stdout
    compiled(pdflatex, tmp_path, page("two columns", body))
    check_clean(compiled(pdflatex, tmp_path, page("two columns", body)))


@pytest.mark.parametrize("name", ["LisGAN@S3", "Prototype", "f-CLSWGAN"])
def test_the_longest_name_stays_on_one_line_with_its_citation(tmp_path: Path, name: str) -> None:
    """The room of names is that of the longest one, to the last bit of the sum of its parts."""
    method, _, preset = name.partition("@")
    label = "lisgan" + (f"@{preset}" if preset else "")
    records = [record("lisgan", "cub", title=method, label=label), record("eszsl", "cub", title="ESZSL")]
    for width in ("column", "page", None):
        text = table(saved(tmp_path / "runs", records), format="latex", cite=True, width=width)
        assert rf"{name}~\cite{{li2019lisgan}} &" in text


def read_bibtex(text: str) -> dict[str, dict[str, str]]:
    """Read entries by counting braces, apart from how the package finds them."""
    entries = {}
    at = 0
    while (start := text.find("@", at)) >= 0:
        opening = text.index("{", start)
        depth, at = 1, opening + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        key, _, fields = text[opening + 1 : at - 1].partition(",")
        entries[key.strip()] = {
            name.lower(): value for name, value in re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", fields)
        }
    return entries


def test_names_take_the_room_that_a_page_wide_table_has(tmp_path: Path) -> None:
    names = [f"ESZSL[gamma={gamma}, lam=10]" for gamma in range(1000, 1020)]  # too many for a column
    records = [
        run
        for name in names
        for dataset in ("cub", "sun", "awa1")
        for run in pair(name.lower(), dataset, 0, (0.5, 0.1, 0.2, 0.1), title=name)
    ]
    text = table(saved(tmp_path, records), format="latex", layout="gzsl", width="column")
    assert text.count(r"\begin{table*}") == text.count(r"\begin{tabular}") == 1  # and all data sets beside each other
    assert all(f"\n{name} & " in text for name in names)


def test_a_table_of_one_column_fits_the_columns_of_the_article_class(pdflatex: str, tmp_path: Path) -> None:
    text = latex_of(tmp_path / "runs", "i" * 200)
    assert r"\begin{table}" in text
    document = r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}%s\end{document}"
    check_clean(compiled(pdflatex, tmp_path, document % text))


def test_a_bibliography_has_all_that_a_table_rests_on_and_names_what_has_no_entry(tmp_path: Path) -> None:
    records = [
        *pair("eszsl", "cub", 0, (0.5, 0.1, 0.2, 0.1), features="res101"),
        *pair("near:Near", "cub", 0, (0.4, 0.1, 0.2, 0.1)),
        *pair("sae", "shop", 0, (0.4, 0.1, 0.2, 0.1), origin="own"),
        *pair("nosuch", "digits", 0, (0.4, 0.1, 0.2, 0.1), origin="builtin"),
    ]
    runs, path = saved(tmp_path / "runs", records), tmp_path / "refs.bib"
    table(runs, bibtex=path)
    text = path.read_text(encoding="utf-8")
    of_methods_and_data = {"romera2015eszsl", "kodirov2017sae", "wah2011cub", "xian2018gbu", "alpaydin1998digits"}
    assert read_bibtex(text).keys() == of_methods_and_data
    for name in ("method near:Near", "method nosuch", "data set shop"):
        assert f"% {name}: no citation is known\n" in text
    table(runs, methods=["eszsl"], published="best", bibtex=path)
    assert read_bibtex(path.read_text(encoding="utf-8")).keys() == {"romera2015eszsl", "wah2011cub", "xian2018gbu"}
    assert "% proposed split; published numbers\n@article{xian2018gbu" in path.read_text(encoding="utf-8")


def test_a_bibliography_of_data_sets_alone(tmp_path: Path) -> None:
    table(layout="stats", datasets=["digits"], bibtex=tmp_path / "refs.bib")
    assert read_bibtex((tmp_path / "refs.bib").read_text(encoding="utf-8")).keys() == {"alpaydin1998digits"}


def test_every_entry_of_the_package_names_authors_title_venue_and_year() -> None:
    text = importlib.resources.files("zslbench").joinpath("references.bib").read_text(encoding="utf-8")
    entries = read_bibtex(text)
    assert entries.keys() == bibliography.entries().keys()
    for key, fields in entries.items():
        assert {"author", "title", "year"} <= fields.keys(), key
        assert fields.keys() & {"journal", "booktitle", "institution", "howpublished"}, key
        assert all(fields.values()), key
        assert re.fullmatch(r"\d{4}", fields["year"]), key
        assert all(re.fullmatch(r"[^,]+, [^,]+|\{[^{}]+\}", name) for name in fields["author"].split(" and ")), key


def test_a_document_of_its_own_cites_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="--cite needs a document with a bibliography"):
        table(tmp_path, format="latex", standalone=True, cite=True)
