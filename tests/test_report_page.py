"""The report in a browser: it sorts, filters and unfolds; nothing leaves it; names that look like markup stay text."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from result_records import record, saved, study

import zslbench
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore

playwright = pytest.importorskip("playwright.sync_api")

HOSTILE = (
    "</script><script>document.title='taken'</script>`<img src=https://example.com/x onerror=alert(1)>` \"'&#_% 学習"
)


def _records() -> list[Record]:
    curve = {step: {"T1": 0.1 * step} for step in range(1, 6)}
    made = {"device": "cpu", "finished": "2026-01-02T03:04:05+00:00"}
    trained = [record("ale", seed=n, metrics={"T1": 0.2 + n / 100}, title="ALE", curve=curve) for n in range(3)]
    judged = [dataclasses.replace(entry, timings={"fit": 1.0, "total": 1.25}, provenance=made) for entry in trained]
    named = {"title": HOSTILE, "label": HOSTILE}
    hostile = [
        record("mine", HOSTILE, metrics={"T1": 0.9}, params={HOSTILE: HOSTILE}, **named),
        record("mine", "cub", metrics={"T1": 0.01}, status="failed", error=f"{HOSTILE}\n", **named),
    ]
    many = [record("prototype", "sun", seed=seed, metrics={"T1": 0.3 + seed / 1000}) for seed in range(130)]
    return [*study(), *judged, *hostile, *many]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("study") / "runs", _records())


@pytest.fixture(scope="module")
def report(runs: Path) -> zslbench.studies.report.Report:
    return zslbench.report(runs.parent / "report.html", runs=runs, title=HOSTILE)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=chromium, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, report: zslbench.studies.report.Report) -> Iterator[Any]:
    """Open the page in a new context; after the test nothing was said, asked for or broken."""
    trouble: list[str] = []
    contexts = []
    address = report.path.as_uri()

    def open_(hash: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("request", lambda asked: asked.url.startswith(address) or trouble.append(f"request: {asked.url}"))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.goto(address + hash)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert trouble == []


def _wait_until(page: Any, condition: str) -> None:
    """Wait until an expression is true in the page; its policy forbids `wait_for_function` to evaluate one twice."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def _column(page: Any, place: int) -> list[list[str]]:
    """Return the texts of one column of the first table, a list a block."""
    return page.evaluate(
        """place => [...document.querySelectorAll("article.result table")[0].tBodies]
            .filter(body => !body.classList.contains("empty"))
            .map(body => [...body.querySelectorAll("tr.line")].map(row => row.children[place].textContent.trim()))""",
        place,
    )


def test_clicking_a_head_sorts_the_lines_of_each_block(opened, report):
    page = opened()
    heads = page.locator("article.result >> nth=0").get_by_role("button", name="T1 on CUB", exact=True)
    place = int(heads.get_attribute("data-key"))
    columns = report.page.tables[0][1]
    wanted = [f"{mean:.1f}" for mean in sorted((cell.stat.mean for cell in columns.cells(place - 1)), reverse=True)]
    heads.click()
    first = [text.partition(" ")[0] for text in _column(page, place)[0]]
    assert first[: len(wanted)] == wanted
    assert set(first[len(wanted) :]) <= {"–"}
    assert page.locator("th[aria-sort=descending]").count() == 1
    heads.press("Enter")  # the keyboard does what the mouse does
    first = [text.partition(" ")[0] for text in _column(page, place)[0]]
    assert first[: len(wanted)] == wanted[::-1]
    page.locator("article.result >> nth=0").get_by_role("button", name="Method", exact=True).click()
    names = _column(page, 0)
    assert names[0] == page.evaluate("names => names.sort(new Intl.Collator('en', {numeric: true}).compare)", names[0])
    assert [len(block) for block in names] == [len(block) for block in _column(page, place)]


def test_filters_say_what_they_leave(opened):
    page = opened()
    state = page.locator("#result-state")
    total = page.locator("article.result tr.line").count()
    assert state.text_content() == f"{total} of {total} rows shown"
    page.fill("#result-filters [name=method]", "lisgan")
    shown = page.locator("article.result tr.line:visible")
    assert state.text_content() == f"{shown.count()} of {total} rows shown"
    assert 0 < shown.count() < total
    assert all("LisGAN" in text for text in shown.locator("th").all_text_contents())
    page.uncheck("#result-filters [name=setting][value=transductive]")
    assert not any("‡" in text for text in shown.locator("th").all_text_contents())
    page.uncheck("#result-filters [name=dataset][value=cub]")
    assert page.locator("article.result [data-dataset=cub]:visible").count() == 0
    assert page.locator("article.result [data-dataset=FLO_PART]:visible").count() > 0
    page.uncheck("#result-filters [name=table][value='0']")
    assert page.locator("article.result:visible").count() == page.locator("article.result").count() - 1
    page.fill("#result-filters [name=method]", "nothing is called so")
    assert state.text_content() == "No row matches; Show all clears the filters."
    assert (
        page.locator("article.result:visible tbody.empty:visible").count()
        == page.locator("article:visible.result").count()
    )
    page.click("#result-filters button[type=reset]")
    _wait_until(page, f"document.getElementById('result-state').value === '{total} of {total} rows shown'")


def test_published_numbers_filter_by_any_word(opened):
    page = opened()
    rows = page.locator("#published-table tr.line:visible")
    total = rows.count()
    page.fill("[data-filters] [name=text]", "eszsl")
    assert 0 < rows.count() < total
    assert page.locator("[data-filters] output").text_content() == f"{rows.count()} of {total} numbers shown"
    page.fill("[data-filters] [name=text]", "no such word")
    assert page.get_by_text("No published number matches the filter.").is_visible()


def test_runs_are_listed_a_part_at_a_time_and_sort_as_a_whole(opened, runs):
    page = opened()
    every = ResultStore(runs).load()
    rows = page.locator("#run-table tbody:not(.empty) tr")
    assert rows.count() == 100
    assert f"{len(every)} of {len(every)} runs, the first 100 listed" in page.locator("#run-state").text_content()
    page.get_by_role("button", name="Show more runs").click()
    assert rows.count() == len(every)
    page.locator("#run-table").get_by_role("button", name="T1", exact=True).click()
    place = page.evaluate(
        "[...document.querySelectorAll('#run-table thead th')].findIndex(head => head.textContent === 'T1')"
    )
    seen = page.evaluate(
        "place => [...document.querySelectorAll('#run-table tbody tr')].map(row => row.children[place]?.textContent)",
        place,
    )
    wanted = sorted((entry.metrics["T1"] for entry in every if "T1" in entry.metrics), reverse=True)
    assert seen[:100] == [f"{100 * value:.1f}" for value in wanted[:100]]
    page.select_option("#run-filters [name=status]", "failed")
    assert rows.count() == sum(entry.status == "failed" for entry in every)
    page.fill("#run-filters [name=text]", "nothing")
    assert page.get_by_text("No run matches the filters.").is_visible()


def test_runs_on_several_features_are_told_apart(browser, tmp_path):
    made = [record("eszsl", "cub", features=stem, metrics={"T1": 0.5}) for stem in ("vgg19", "res101")]
    saved(tmp_path / "runs", [*made, record("eszsl", "sun", metrics={"T1": 0.5})])
    page = browser.new_page()
    page.goto(zslbench.report(tmp_path / "report.html", runs=tmp_path / "runs").path.as_uri())
    shown = page.locator("#run-table tbody:not(.empty) tr td:nth-child(2)").all_text_contents()
    assert sorted(shown) == ["CUB (res101, att)", "CUB (vgg19, att)", "SUN"]
    page.close()


@pytest.mark.parametrize("table", ["#run-table", "#published-table", ".matrix", ".accuracy"])
def test_the_first_column_stays_with_its_head_while_the_rest_scrolls(opened, table):
    page = opened(viewport={"width": 390, "height": 800})
    lefts = """table => {
        const shown = document.querySelector(table);
        shown.closest("details")?.setAttribute("open", "");
        const scroll = shown.closest(".scroll");
        scroll.style.maxWidth = "12rem";
        const cells = [shown.tHead.rows[0].cells[0], shown.querySelector("tbody th.name")];
        const measured = () => cells.map(cell => cell.getBoundingClientRect().left);
        const before = measured();
        scroll.scrollLeft = 60;
        return {scrolled: scroll.scrollLeft, before, after: measured()};
    }"""
    measured = page.evaluate(lefts, table)
    assert measured["scrolled"] == 60
    assert measured["after"] == measured["before"]


def test_a_run_opens_and_closes_by_keyboard(opened, runs):
    page = opened()
    page.fill("#run-filters [name=text]", "ale")
    link = page.locator("#run-table").get_by_role("link", name="ale", exact=True).first
    link.focus()
    link.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.wait_for()
    first = dialog.get_attribute("data-run")
    _wait_until(page, f"location.hash === '#run-{first}'")
    kept = next(entry for entry in ResultStore(runs).load() if entry.id == first)
    text = dialog.inner_text()
    assert f"{100 * kept.metrics['T1']:.2f} T1" in text
    assert "total\t1.25" in text
    assert "zslbench run -m ale -d cub" in text
    assert "2026-01-02 03:04" in text
    assert dialog.locator("svg.curve path").count() == 1
    page.keyboard.press("ArrowRight")
    assert dialog.get_attribute("data-run") != first
    page.keyboard.press("Escape")
    # The dialog is gone before its event `close` has been dealt with.
    _wait_until(page, "!document.querySelector('dialog[open]') && !location.hash.startsWith('#run-')")
    _wait_until(page, "document.activeElement.closest('#run-table') !== null")


def test_a_link_to_a_run_opens_it(opened, runs):
    kept = next(
        entry for entry in ResultStore(runs).load() if entry.status == "failed" and entry.method["name"] == "mine"
    )
    page = opened(f"#run-{kept.id}")
    dialog = page.locator("dialog[open]")
    assert dialog.locator("pre.error").text_content() == kept.error
    assert "--rerun failed" in dialog.inner_text()


def test_names_that_look_like_markup_stay_text(opened):
    page = opened()
    assert page.locator("h1").text_content() == HOSTILE
    assert page.title().startswith(HOSTILE)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    page.fill("#run-filters [name=text]", HOSTILE.lower())
    links = page.locator("#run-table tbody a")
    assert links.all_text_contents() == [HOSTILE, HOSTILE]
    links.first.click()
    page.locator("dialog[open]").wait_for()
    assert page.locator("#run-head").text_content() == HOSTILE
    assert page.locator("dialog dl.pairs dt", has_text=HOSTILE).first.is_visible()


def test_the_page_itself_never_scrolls_sideways(opened):
    page = opened()
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(_BEYOND, "html") == [], width
    page.locator("#run-table tbody a").first.click()
    page.locator("dialog[open]").wait_for()
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(_BEYOND, "dialog[open]") == [], width


def test_published_numbers_fit_a_small_desktop_whole(opened):
    page = opened(viewport={"width": 1280, "height": 800})
    beyond = "table => table.parentElement.scrollWidth - table.parentElement.clientWidth"
    assert page.locator("#published-table").evaluate(beyond) == 0
    page.set_viewport_size({"width": 390, "height": 800})
    overlapping = """table => [...table.querySelectorAll("th.name small")].filter(text => {
      const [inner, cell] = [text, text.parentElement].map(element => element.getBoundingClientRect());
      return text.scrollWidth > text.clientWidth || inner.right > cell.right;
    }).map(text => text.textContent)"""
    assert page.locator("#published-table th.name small").count() > 0
    assert page.locator("#published-table").evaluate(overlapping) == []


def test_figures_fit_a_phone_whole_and_names_break_between_their_parts_alone(opened):
    page = opened(viewport={"width": 390, "height": 800})
    drawings = page.locator(".drawing")
    assert drawings.count() > 0
    assert drawings.evaluate_all("boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).length") == 0
    smallest = """texts => Math.min(...texts.filter(text => text.checkVisibility())
      .map(text => [parseFloat(getComputedStyle(text).fontSize), text.getScreenCTM()])
      .map(([size, place]) => size * Math.hypot(place.a, place.b)))"""
    assert page.locator(".drawing text").evaluate_all(smallest) >= 8  # pixels
    broken = """names => names.filter(name => name.checkVisibility()).flatMap(name => {
      if (name.innerText.includes("</")) return [];
      const walker = document.createTreeWalker(name, NodeFilter.SHOW_TEXT), out = [];
      for (let node; (node = walker.nextNode());) for (let at = 1; at < node.length; at++) {
        const [before, after] = [at - 1, at].map(from => { const range = document.createRange();
          range.setStart(node, from); range.setEnd(node, from + 1); return range.getBoundingClientRect(); });
        if (after.top > before.top + 2 && /[A-Za-z0-9-]{2}/.test(node.data.slice(at - 1, at + 1))) out.push(node.data);
      } return out; })"""
    names = page.locator("article.result th.name, .matrix th.name, #run-table th.name")
    assert names.evaluate_all(broken) == []
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(".drawing .narrow:visible").count() == 0
    assert page.locator(".drawing .wide:visible").count() == drawings.count()


_BEYOND = """selector => {
  const box = document.querySelector(selector);
  const out = item => item.getBoundingClientRect().right > box.clientWidth && !item.closest(".scroll, .drawing");
  return box.scrollWidth <= box.clientWidth ? [] : [...box.querySelectorAll("*")].filter(out).map(i => i.outerHTML);
}"""


_CONTRASTS = """selectors => selectors.map(selector => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const element = document.querySelector(selector);
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const [first, second] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05); })"""
_TEXTS = """body|.kind|.facts dt|.caption|.sd|.mark|.best b|.heading th|thead th button|td .status.ok|.verdict|
#run-table a|figcaption|.lacks|.tiles .failed b""".replace("\n", "").split("|")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(opened, scheme):
    page = opened(color_scheme=scheme)
    contrasts = dict(zip(_TEXTS, page.evaluate(_CONTRASTS, _TEXTS), strict=True))
    assert {text for text, contrast in contrasts.items() if contrast < 4.5} == set()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 22, 26)") == (scheme == "dark")


def test_the_button_turns_light_to_dark_and_back(opened):
    page = opened(color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.locator("#theme").text_content() == "Switch to dark"
    page.get_by_role("button", name="Switch to dark").click()
    assert page.locator("#theme").text_content() == "Switch to light"
    assert page.get_by_role("status").get_by_text("The page is dark now.").count() == 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_on_paper_there_are_no_controls_and_no_darkness(opened):
    page = opened(color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("form.filters:visible, nav:visible, #theme:visible, dialog:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("article.result table:visible").count() > 0
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(box => getComputedStyle(box).overflow === 'visible')"
    )


def test_the_first_tab_skips_to_the_results(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    _wait_until(page, "document.activeElement.id === 'results'")


def test_everything_can_be_read_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("article.result tr.line:visible").count() > 0
    assert page.locator("noscript p").is_visible()


def test_a_shade_stands_at_the_edge_of_a_table_until_its_last_column_is_seen(opened):
    page = opened(viewport={"width": 390, "height": 800})
    scroll = page.locator(".scroll:has(#published-table)")
    assert scroll.evaluate("box => box.scrollWidth > box.clientWidth")
    page.evaluate(
        "document.querySelector('#published-table').style.visibility = 'hidden'"
    )  # numbers, not what is behind

    def edge() -> tuple[int, ...]:
        picture = Image.open(io.BytesIO(scroll.screenshot()))
        return picture.getpixel((picture.width - 4, picture.height // 2))

    before = edge()
    scroll.evaluate("box => { box.scrollLeft = box.scrollWidth }")
    assert edge()[:3] == (255, 255, 255)
    assert max(before[:3]) < 230
