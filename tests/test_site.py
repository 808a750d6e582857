"""What the README and the documentation tell people to type works, and the site builds whole, from this machine alone.

On every page, ``bash`` blocks are executed in an empty folder, in order with the ``python`` blocks between them.
``toml`` and ``python`` blocks with a title become files. A ``text`` block right after a ``bash`` block is part of what
that prints, numbers aside. ``sh`` blocks need data or time:
their commands are parsed, and the methods and data sets in them looked up; so are those of job scripts (``shell``).
``latex`` blocks are compiled in the folder that the page has filled. GANs train and grids are searched less than pages
say, and the README's commands on CUB's ``fc1000`` are executed on the real data.
"""

from __future__ import annotations

import functools
import html
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
from compiled_latex import compiled
from typed_commands import ROOT, Block, blocks, check_names, commands, parsed, run_here

from zslbench.checks import check_method
from zslbench.cli import cli
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.results.records.record import Record
from zslbench.runner.plan import RunOptions, plan

DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
PAGES["README.md"] = README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNNABLE = [name for name, page in PAGES.items() if {"bash", "python"} & {block.kind for block in blocks(page)}]
BUILT_IN = {"digits", "synthetic"}


def likeness(text: str) -> list[str]:
    """Return lines without numbers, rules and spacing: what stays the same on another machine."""
    words = (re.sub(r"[-−+]?\d[\d.]*", "#", re.sub(r"[─*]+", "", line)).split() for line in text.splitlines())
    return [" ".join(line) for line in words if line]


def execute(page: str, folder: Path) -> None:
    """Do what a page says, in the working folder."""
    printed: str | None = None
    for block in blocks(page):
        if block.kind == "text" and printed is not None:
            assert set(likeness(block.text)) <= set(likeness(printed)), (block.text, printed)
        printed = None
        if block.kind == "bash":
            printed = "".join(checked(arguments, folder) for arguments in block.commands())
        elif block.kind in ("python", "toml") and block.title:
            (folder / block.title).write_text(block.text)
        elif block.kind == "python":
            exec(compile(block.text, "a page of the documentation", "exec"), {"__name__": "__main__"})


def given(arguments: list[str], *options: str) -> list[str]:
    """Return what a command line gives for some options."""
    return [value for word, value in itertools.pairwise(arguments) if word in options]


def checked(arguments: list[str], folder: Path) -> str:
    """Run a command; it must end well, print something, and write the files that it names."""
    code, out, errors = run_here(arguments)
    assert code == 0, (arguments, errors)
    assert "failed record" not in out
    written = given(arguments, "-o", "--data", "--output")
    assert out or written, arguments
    for name in written:
        assert (folder / name).stat().st_size, name
    return out


def test_most_pages_can_be_followed():
    assert {"index.md", "tutorial.md"} <= set(RUNNABLE)
    assert sum(name.startswith("how-to/") for name in RUNNABLE) == len(list(DOCS.glob("how-to/*.md")))


def shortened(page: str) -> str:
    """Return a page on which GANs train one epoch, and ESZSL's whole grid is searched along gamma alone."""
    page = re.sub(r"\b((?:lisgan|fclswgan)\S*\bepochs)=\d+", r"\1=1", page)
    return re.sub(r"^(zslbench tune 'eszsl\[preprocess=l2\]' .*)", r"\1 --only gamma", page, flags=re.MULTILINE)


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_page_can_be_followed(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    page = shortened(PAGES[name])
    if name == "README.md":
        page = re.sub(r"\bepochs=\d+", "epochs=1,pretrain_epochs=1,per_class=10", page)
    execute(page, tmp_path)
    if documents := [block.text for block in blocks(page) if block.kind == "latex"]:
        pdflatex = request.getfixturevalue("pdflatex")  # skips where there is none, after all that needs none
        for number, text in enumerate(documents):
            assert "Overfull" not in compiled(pdflatex, tmp_path, text, f"document{number}")


@pytest.mark.parametrize("name", [name for name in PAGES if commands("sh", PAGES[name])])
def test_commands_that_need_data_or_hours_parse_and_name_what_exists(name):
    for arguments in commands("sh", PAGES[name]):
        check_names([*arguments])


@pytest.mark.realdata
def test_commands_of_the_readme_on_cub_scores_run_on_real_data(real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xlsa17").symlink_to(real_data)
    on_scores = [line for line in commands("sh", README) if "fc1000" in line]
    assert on_scores
    little = "[hidden=16,epochs=1,pretrain_epochs=1,final_epochs=1,per_class=5]"  # in full, it takes minutes
    for arguments in on_scores:
        code, _, errors = run_here([word.replace("lisgan@quick", f"lisgan@quick{little}") for word in arguments])
        assert code == 0, errors
        assert "failed" not in errors


def test_the_python_block_of_the_readme_is_a_method_that_keeps_the_contract(tmp_path, monkeypatch):
    block, session = (block.text for block in blocks(README) if block.kind == "python")
    assert len(block.splitlines()) - block.count("\n\n") - 1 <= 10  # blank lines and the import aside
    (tmp_path / "my_module.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    check_method("my_module:Nearest")
    (example,) = re.findall(r"`(zslbench run -m my_module:\w+ -d digits)`", README)
    monkeypatch.chdir(tmp_path)
    code, out, errors = run_here(shlex.split(example))
    assert code == 0, errors
    assert "2 of 2 runs are done" in out
    names: dict[str, object] = {}
    exec(session, names)  # its lines use what earlier ones made
    assert len(names["frame"]) == 6


def test_the_installed_script_answers():
    script = Path(sys.executable).with_name("zslbench")
    done = subprocess.run([str(script), "list", "protocols"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gzsl" in done.stdout


def test_make_targets_exist_and_the_demo_is_on_built_in_data():
    makefile = (ROOT / "Makefile").read_text()
    names = {words[2] for words in commands("console", README) if words[1] == "make"}
    assert names == {"demo", "test"}
    assert all(re.search(rf"^{name}:", makefile, flags=re.MULTILINE) for name in names)
    variables = dict(re.findall(r"^(\w+) := (.*)$", makefile, flags=re.MULTILINE))
    demo = variables["DEMO"].replace("$(GAN)", variables["GAN"])
    options = parsed(["zslbench", "run", *shlex.split(demo)])
    planned = plan(RunOptions(options["methods"], options["datasets"], options["protocols"]))
    assert {run.method for run in planned.runs} == {"lisgan", "fclswgan", "eszsl", "sae"}
    assert {run.dataset.name for run in planned.runs} == {"digits"}


def test_job_scripts_parse():
    scripts = [block for page in PAGES.values() for block in blocks(page) if block.kind == "shell"]
    lines = [re.sub(r"\$\w+", "0", line) for block in scripts for line in block.text.splitlines()]
    typed = [Block("sh", "", line).commands()[0] for line in lines if line.startswith("zslbench ")]
    assert typed
    for arguments in typed:
        check_names(arguments)


def test_executed_commands_use_built_in_data_alone():
    for name in RUNNABLE:
        allowed = BUILT_IN | {line[3] for line in commands("bash", PAGES[name]) if line[1:3] == ["data", "add"]}
        for arguments in commands("bash", PAGES[name]):
            for text in given(arguments, "-d", "--dataset"):
                assert text.partition("[")[0] in allowed or text.startswith("./"), arguments


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page: Path) -> str:
    """Return what a reader of a built page sees, and search finds."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", body)).replace("\N{NO-BREAK SPACE}", " ")


def every_command() -> dict[str, click.Command]:
    every = dict(cli.commands)
    for name, group in cli.commands.items():
        if isinstance(group, click.Group):
            every |= {f"{name}-{inner}": command for inner, command in group.commands.items()}
    assert len(every) > 15
    return every


def test_every_verb_and_option_is_in_the_reference(site):
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    every = every_command()
    sections = dict(re.findall(r'<h2 id="([\w-]+)">(.*?)(?=<h2 id=|</article>)', page, flags=re.DOTALL))
    assert set(sections) == set(every)
    for verb, command in every.items():
        seen = html.unescape(re.sub(r"<[^>]+>", "", sections[verb]))
        if isinstance(command, click.Group):
            continue
        for param in command.params:
            assert all(name in seen for name in param.opts if name.startswith("-")), (verb, param.opts)
        assert f"zslbench {verb.replace('-', ' ', 1)}" in seen


@pytest.mark.parametrize(
    ("page", "registry"),
    [("methods/index", METHODS), ("reference/datasets", DATASETS), ("reference/protocols", PROTOCOLS)],
)
def test_everything_registered_is_in_the_reference(site, page, registry):
    seen = text_of(site / f"{page}.html")
    names = registry.builtin_names()
    assert all(re.search(rf"\b{name}\b", seen) for name in names)
    if registry is METHODS:
        assert all((site / "methods" / f"{name}.html").is_file() for name in names)
        menu = (site / "index.html").read_text(encoding="utf-8")
        assert all(f'href="methods/{name}.html"' in menu for name in names)


def test_presets_records_published_numbers_and_functions_are_in_the_reference(site):
    presets = text_of(site / "reference" / "presets.html")
    assert all(f"{entry.name}@{tag}" in presets for entry in METHODS for tag in entry.load().presets)
    fields = text_of(site / "reference" / "records.html")
    assert all(re.search(rf"\b{name}\b", fields) for name in Record.__dataclass_fields__)
    published = text_of(site / "reference" / "published.html")
    assert "46.5 / 57.9 / 51.6" in published  # LisGAN on CUB, Table 4 of its paper
    functions = (site / "reference" / "python.html").read_text(encoding="utf-8")
    heads = re.findall(r"<h2 id=[^>]*>\s*([\w.]+)", functions)
    verbs = {verb for verb, command in cli.commands.items() if not isinstance(command, click.Group)}
    verbs -= {"completion"}  # for shells alone
    assert {f"zslbench.{verb}" for verb in verbs} | {"zslbench.data.fetch", "zslbench.results.merge"} < set(heads)


def test_the_notebook_is_a_page_with_its_outputs(site):
    page = (site / "tutorial-notebook.html").read_text(encoding="utf-8")
    assert page.count('<div class="output"') >= 5
    assert '<img alt="the figure that the cell draws" src="data:image/png;base64,' in page
    seen = " ".join(text_of(site / "tutorial-notebook.html").split())
    assert "H is the harmonic mean of U and S" in seen
    assert "<strong>71.8</strong></td>" in page
    assert "ESZSL 71.8* 25.7 88.8* 39.8" in seen  # what print(table) gives
    assert "<style scoped>" not in page
    assert (site / "tutorial.ipynb").is_file()


def test_sources_differ_where_the_errata_say(site):
    seen = " ".join(text_of(site / "reference" / "published.html").split())
    differing = seen[seen.index("Where sources differ") :]
    assert (
        "ESZSL CUB (res101, att) xian2018gbu: 12.6 / 63.8 / 21.0; li2019lisgan, quoted: 2.4 / 70.1 / 4.6" in differing
    )
    assert "DAP SUN (res101, att) xian2018gbu: S 25.1; li2019lisgan, quoted: S 25.2" in differing
    assert "DeViSE CUB" not in differing  # the same in both


def test_no_page_loads_anything_from_elsewhere(site):
    loading = re.compile(
        r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=[\"']?(https?:)?//", re.IGNORECASE
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        assert not loading.search(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_search_finds_a_verb_an_option_and_an_erratum(site):
    entries = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    for location, words in {
        "reference/command-line.html#tune": "--time-limit",
        "methods/lisgan.html": "soul",
        "explanation/errata.html": "CUB",
    }.items():
        assert any(entry["location"].startswith(location) and words in entry["text"] for entry in entries), location


def test_the_site_says_nothing_of_the_machine_that_built_it(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text
        assert str(Path.home()) + "/" not in text


@pytest.fixture
def served(site):
    """The address of the built site, served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_browser_shows_pages_without_errors_and_asks_nobody_else(served, chromium):
    api = pytest.importorskip("playwright.sync_api")
    troubles: list[str] = []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 844})
            page.set_default_timeout(120_000)
            page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on(
                "request",
                lambda sent: None if sent.url.startswith((served, "data:", "blob:")) else troubles.append(sent.url),
            )
            # Waiting for the network: a search index that the next page cuts off is an error on the console.
            for name in (
                "index",
                "tutorial",
                "tutorial-notebook",
                "reference/command-line",
                "methods/lisgan",
                "reference/published",
            ):
                page.goto(f"{served}/{name}.html", wait_until="networkidle")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                if (name, width) == ("tutorial-notebook", 1280):
                    outputs = page.locator("pre > code, .output")
                    assert outputs.count() > 20
                    assert all(outputs.evaluate_all("all => all.map(one => one.scrollWidth <= one.clientWidth)"))
        page.set_viewport_size({"width": 1280, "height": 844})
        page.goto(f"{served}/index.html?q=cascade")  # what is typed before the search has come up is lost
        page.locator(".md-search-result__link[href*='lisgan']").first.wait_for()
        browser.close()
    assert not troubles
