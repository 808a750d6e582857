"""LaTeX tables: what LaTeX would trip over, under any name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from result_records import check_golden, pair, saved

from zslbench.results.tables.latex_text import escape
from zslbench.results.tables.render import render
from zslbench.results.tables.table import Cell, Remark, text_table
from zslbench.studies.record_table import table

HOSTILE = "a_b%c&d#e\\f{g}$h~i^j|k*l<m>`é日本\n[n]"


def test_golden_of_hostile_names_in_latex(tmp_path: Path) -> None:
    hostile = {"title": HOSTILE, "label": f"mine[name='{HOSTILE}']", "params": {"name": HOSTILE}}
    records = pair("mine", HOSTILE, 0, (0.5, 0.04, 1.0, 0.1), features="f_1", semantics="s&t", **hostile)
    records += pair("*", HOSTILE, 0, (0.4, 0.3, 0.5, 0.1), features="f_1", semantics="s&t", title="*[x]")
    check_golden("hostile.tex", table(saved(tmp_path, records), format="latex"))


def check_latex(text: str) -> None:
    """Check what LaTeX would trip over: environments, braces, column counts, bare special characters."""
    comments = re.match(r"% needs \\usepackage\{booktabs\}\n(?:% names hold [^\n]*\n)?", text)
    assert comments
    text = text[comments.end() :]
    begun = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if kind == "begin":
            begun.append(name)
        else:
            assert begun.pop() == name
    assert not begun
    bare = re.sub(r"\\[\\{}%&#_$]", "", text)
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
    text = table(saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), title=name)), format="latex")
    check_latex(text)
    assert ("compile with lualatex" in text) == beyond


def test_greek_is_mathematics(tmp_path: Path) -> None:
    text = table(saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), title="αλςοΑΓ")), format="latex")
    assert r"$\alpha$$\lambda$$\varsigma$$o$$\mathrm{A}$$\Gamma$" in text


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
