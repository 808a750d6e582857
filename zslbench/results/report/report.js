"use strict";
(() => {
  const PAGE = 100;
  const data = JSON.parse(document.getElementById("data").textContent);
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const at = Object.fromEntries(data.fields.map((name, place) => [name, place]));

  /* Elements: text is always set as text, so that no name or error of a record becomes markup. */
  function make(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "line", "text", "circle"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

  /* Order: numbers by value, words as people sort them; what is missing comes last either way. */
  function compare(one, other, descending) {
    const lacks = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);
    if (lacks(one) || lacks(other)) return lacks(one) - lacks(other);
    const found = typeof one === "number" && typeof other === "number" ? one - other : collator.compare(one, other);
    return descending ? -found : found;
  }

  /* Turn to the other direction; the first click shows the highest number, or the first word. */
  function turn(head, heads, descendingFirst) {
    const before = head.getAttribute("aria-sort");
    const descending = before === "none" ? descendingFirst : before === "ascending";
    heads.forEach((one) => one.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    return descending;
  }

  function sortable(table) {
    const heads = [...table.querySelectorAll("th[aria-sort]")];
    for (const head of heads) {
      const button = head.querySelector("button");
      const number = head.classList.contains("number");
      button.addEventListener("click", () => {
        const descending = turn(head, heads, number);
        const value = (row) => {
          const cell = row.children[Number(button.dataset.key)];
          return number ? parseFloat(cell.dataset.value) : cell.textContent.trim();
        };
        for (const body of table.tBodies) {
          const rows = [...body.querySelectorAll("tr.line")];
          rows.sort((one, other) => compare(value(one), value(other), descending));
          body.append(...rows);
        }
      });
    }
  }

  /* The tables of results: a row fits by method, setting and selection, and has a value in a data set that is shown. */
  function filterResults() {
    const form = document.getElementById("result-filters");
    const articles = [...document.querySelectorAll("article.result")];
    const chosen = (name) => {
      const boxes = [...form.querySelectorAll(`input[name=${name}]`)];
      return boxes.length ? new Set(boxes.filter((box) => box.checked).map((box) => box.value)) : null;
    };
    const has = (set, value) => set === null || set.has(value);
    function apply() {
      const text = form.elements.method.value.trim().toLowerCase();
      const [tables, sets, settings, selections] = ["table", "dataset", "setting", "selection"].map(chosen);
      let shown = 0;
      let total = 0;
      for (const article of articles) {
        article.hidden = !has(tables, article.dataset.table);
        for (const cell of article.querySelectorAll("[data-dataset]")) cell.hidden = !has(sets, cell.dataset.dataset);
        let here = 0;
        for (const body of article.querySelectorAll("tbody:not(.empty)")) {
          let inBody = 0;
          for (const row of body.querySelectorAll("tr.line")) {
            const name = `${row.cells[0].textContent} ${row.dataset.full}`.toLowerCase();
            const filled = [...row.querySelectorAll("td[data-value]")].some((cell) => !cell.hidden);
            row.hidden = !(name.includes(text) && filled && has(settings, row.dataset.setting)
              && has(selections, row.dataset.selection));
            inBody += !row.hidden;
            total += 1;
          }
          body.hidden = inBody === 0;
          here += inBody;
        }
        article.querySelector("tbody.empty").hidden = here > 0;
        if (!article.hidden) shown += here;
      }
      const none = "No row matches; Show all clears the filters.";
      document.getElementById("result-state").value = shown ? `${shown} of ${counted(total, "row")} shown` : none;
    }
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
  }

  function filterRows(form) {
    const table = document.getElementById(form.dataset.filters);
    const rows = [...table.querySelectorAll("tr.line")];
    function apply() {
      const text = form.elements.text.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(text);
      const shown = rows.filter((row) => !row.hidden).length;
      table.querySelector("tbody.empty").hidden = shown > 0;
      form.querySelector("output").value = `${shown} of ${counted(rows.length, "number")} shown`;
    }
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  /* Runs: what many share is looked up, once a run is asked for. */
  const stems = new Map();
  for (const { name, features, semantics } of data.datasets) {
    stems.set(name, (stems.get(name) ?? new Set()).add(`${features}, ${semantics}`));
  }

  function nameData({ name, features, semantics }) {
    return data.titles[name] + (stems.get(name).size > 1 ? ` (${features}, ${semantics})` : "");
  }

  function run(row) {
    const [method, dataset, protocol, stage, fold, selection] = data.cells[row[at.cell]];
    return {
      row,
      id: row[at.id],
      method: data.methods[method],
      dataset: data.datasets[dataset],
      protocol: data.protocols[protocol],
      stage: stage === "dev" ? `dev, fold ${fold}` : stage,
      kind: stage,
      selection,
      seed: row[at.seed],
      status: row[at.status],
      state: row[at.status] === "ok" ? "done" : row[at.status],
      error: row[at.error] < 0 ? "" : data.errors[row[at.error]],
      total: seconds(row),
    };
  }

  function seconds(row) {
    const place = data.names.timings.indexOf("total");
    return place < 0 ? null : row[at.timings][place];
  }

  const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : (value / 100).toFixed(digits));
  const time = (value) => (value === null || value === undefined ? "–" : value.toFixed(value < 10 ? 2 : 1));

  function when(row) {
    const after = row[at.finished];
    return after === null ? "" : new Date((data.since + after) * 1000).toISOString().replace("T", " ").slice(0, 16);
  }

  const runs = data.runs.map(run);
  const byId = new Map(runs.map((one) => [one.id, one]));
  let listed = runs;

  function columns() {
    const words = [
      ["Method", (one) => one.method.label || one.method.name, false],
      ["Data set", (one) => nameData(one.dataset), false],
      ["Protocol", (one) => one.protocol.name, false],
      ["Stage", (one) => one.stage, false],
      ["Seed", (one) => one.seed, true],
      ["Status", (one) => one.state, false],
    ];
    const metrics = data.names.metrics.slice(0, 6).map((name, place) => [name, (one) => one.row[at.metrics][place], true]);
    return [...words, ...metrics, ["Seconds", (one) => one.total, true], ["Run", (one) => one.id, false]];
  }

  /* A line may end between the parts of a name, as in `break_name` of page.py. */
  function breakable(text) {
    const words = text.split(/(?<=[,[+:])(?=\S)|(?<= )/u);
    const pieces = words.flatMap((word) => (word.length > 15 ? word.split(/(?<=[=_])(?=.)|(?<=[A-Za-z])(?=[A-Z][a-z])/u) : [word]));
    const whole = (piece) => (piece.includes("-") ? make("span", { class: "whole" }, piece) : piece);
    return pieces.flatMap((piece, place) => (place ? [make("wbr"), whole(piece)] : [whole(piece)]));
  }

  function cell(name, value, one) {
    if (name === "Method") return make("th", { scope: "row", class: "name" }, make("a", { href: `#run-${one.id}` }, ...breakable(value)));
    if (name === "Run") return make("td", { title: value }, make("code", {}, value.slice(0, 8)));
    if (name === "Status") return make("td", {}, make("span", { class: `status ${one.status}` }, value));
    if (name === "Seconds") return make("td", { class: "number" }, time(value));
    if (name === "Seed") return make("td", { class: "number" }, String(value));
    if (data.names.metrics.includes(name)) return make("td", { class: "number" }, percent(value));
    return make("td", {}, value);
  }

  function listRuns() {
    const form = document.getElementById("run-filters");
    const table = document.getElementById("run-table");
    const [body, empty] = table.tBodies;
    const more = document.getElementById("more");
    const all = columns();
    let order = null;
    let visible = PAGE;

    function heads() {
      const row = table.tHead.rows[0];
      for (const [name, value, number] of all) {
        const button = make("button", { type: "button", class: "sort" }, name);
        const head = make("th", { scope: "col", class: number ? "number" : name === "Method" ? "name" : "word", "aria-sort": "none" }, button);
        button.addEventListener("click", () => {
          order = [value, turn(head, [...row.children], number)];
          apply();
        });
        row.append(head);
      }
      empty.rows[0].cells[0].colSpan = all.length;
    }

    function choices(name, value) {
      const select = form.elements[name];
      const found = [...new Set(runs.map(value))].sort(collator.compare);
      select.append(make("option", { value: "" }, "all"), ...found.map((one) => make("option", { value: one }, one)));
      select.closest("label").hidden = found.length < 2;
    }

    function fits(one, text, wanted) {
      return Object.entries(wanted).every(([name, value]) => value === "" || value === pick[name](one))
        && (text === "" || haystack(one).includes(text));
    }
    const pick = {
      dataset: (one) => nameData(one.dataset),
      protocol: (one) => one.protocol.name,
      stage: (one) => one.kind,
      status: (one) => one.state,
    };
    function haystack(one) {
      one.text ??= [one.id, one.method.name, one.method.label, one.method.title, one.dataset.name, one.error]
        .join(" ").toLowerCase();
      return one.text;
    }

    function draw() {
      const rows = listed.slice(0, visible);
      body.replaceChildren(...rows.map((one) => make("tr", {}, ...all.map(([name, value]) => cell(name, value(one), one)))));
      empty.hidden = listed.length > 0;
      more.hidden = visible >= listed.length;
      const part = listed.length > visible ? `, the first ${visible} listed` : "";
      document.getElementById("run-state").value = listed.length
        ? `${listed.length.toLocaleString("en")} of ${counted(runs.length, "run")}${part}` : "No run matches; Show all clears the filters.";
    }

    function apply() {
      const text = form.elements.text.value.trim().toLowerCase();
      const wanted = Object.fromEntries(Object.keys(pick).map((name) => [name, form.elements[name].value]));
      listed = runs.filter((one) => fits(one, text, wanted));
      if (order) listed.sort((one, other) => compare(order[0](one), order[0](other), order[1]));
      visible = PAGE;
      draw();
    }

    heads();
    for (const [name, value] of Object.entries(pick)) choices(name, value);
    form.hidden = table.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    more.addEventListener("click", () => {
      const first = visible;
      visible += 5 * PAGE;
      draw();
      body.rows[first]?.querySelector("a").focus();
    });
    apply();
  }

  /* Details of one run. */
  const dialog = document.getElementById("run");

  function pairs(list, given = new Set()) {
    const shown = list.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return make("dl", { class: "pairs" }, ...shown.map(([name, value]) => make("div", { class: given.has(name) ? "given" : "" },
      make("dt", {}, name), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value)))));
  }

  function part(title, ...children) {
    return make("section", {}, make("h3", {}, title), ...children);
  }

  function metricsPart(one) {
    const found = data.names.metrics.map((name, place) => [name, one.row[at.metrics][place]]).filter(([, value]) => value !== null);
    if (!found.length) return null;
    return part("Metrics", make("ul", { class: "tiles" }, ...found.map(([name, value]) =>
      make("li", {}, make("b", {}, percent(value, 2)), ` ${name} %`))));
  }

  function curvePart(one) {
    if (one.row[at.steps] < 0) return null;
    const steps = data.steps[one.row[at.steps]];
    const names = data.names.metrics;
    const lines = names.map((name, place) => ({
      name, points: steps.map((step, number) => [step, one.row[at.curve][number * names.length + place]]),
    })).filter((line) => line.points.every(([, value]) => value !== null));
    if (!lines.length) return null;
    const said = lines.map((line) => `${line.name} from ${percent(line.points[0][1])} to ${percent(line.points.at(-1)[1])}`);
    const told = `From step ${steps[0]} to ${steps.at(-1)}: ${said.join(", ")} percent.`;
    return part("Curve", drawn(lines, steps, told), make("p", { class: "caption" }, told));
  }

  function drawn(lines, steps, label) {
    const [width, height, left, right, top, bottom] = [560, 220, 34, 60, 10, 26];
    const values = lines.flatMap((line) => line.points.map(([, value]) => value));
    const low = Math.floor(Math.min(...values) / 1000) * 1000;
    const high = Math.max(low + 1000, Math.ceil(Math.max(...values) / 1000) * 1000);
    const span = Math.max(1, steps.at(-1) - steps[0]);
    const x = (step) => (left + (steps.length > 1 ? (width - left - right) * (step - steps[0]) / span : 0)).toFixed(1);
    const y = (value) => (top + (height - top - bottom) * (1 - (value - low) / (high - low))).toFixed(1);
    const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "curve" });
    for (const value of [low, (low + high) / 2, high]) {
      picture.append(make("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }),
        make("text", { x: left - 6, y: Number(y(value)) + 4, "text-anchor": "end" }, percent(value, 0)));
    }
    for (const step of new Set([steps[0], steps.at(-1)])) {
      picture.append(make("text", { x: x(step), y: height - 8, "text-anchor": "middle" }, String(step)));
    }
    const ends = lines.map((line, place) => [Number(y(line.points.at(-1)[1])), place]).sort((one, other) => one[0] - other[0]);
    ends.forEach((end, place) => { if (place) end[0] = Math.max(end[0], ends[place - 1][0] + 13); });
    const over = Math.max(0, (ends.at(-1)?.[0] ?? 0) - (height - bottom));
    for (const [end, place] of ends) {
      const line = lines[place];
      const shape = line.points.map(([step, value], number) => `${number ? "L" : "M"}${x(step)} ${y(value)}`).join("");
      picture.append(make("path", { d: shape, class: `line c${place % 6}` }),
        make("circle", { cx: x(steps.at(-1)), cy: y(line.points.at(-1)[1]), r: 2.5, class: `dot c${place % 6}` }),
        make("text", { x: width - right + 8, y: end - over + 4, class: `name c${place % 6}` }, line.name));
    }
    return picture;
  }

  const PHASES = { total: "total", data: "preparing data", fit: "training", scores: "scoring test images",
    checks: "checking scores", evaluation: "computing metrics", shared: "shared" };

  function timingsPart(one) {
    const found = data.names.timings.map((name, place) => [name, one.row[at.timings][place]]).filter(([, value]) => value !== null);
    if (!found.length) return null;
    const most = Math.max(...found.map(([, value]) => value), 1e-9);
    const own = found.some(([name]) => !(name in PHASES)) ? " Training includes its own phases, named with “training:”." : "";
    const shared = found.some(([name]) => name === "shared") ? " Shared is work that an earlier run had done already; the total counts it all the same." : "";
    const caption = own + shared ? make("p", { class: "caption" }, (own + shared).trim()) : null;
    return part("Time in seconds", make("table", { class: "bars" }, make("tbody", {}, ...found.map(([name, value]) => {
      const bar = make("span", { class: "bar-of" });
      bar.style.width = `${Math.max(0.5, 100 * value / most).toFixed(1)}%`;
      return make("tr", {}, make("th", { scope: "row" }, PHASES[name] ?? `training: ${name}`), make("td", { class: "number" }, value.toFixed(value < 1 ? 4 : 2)),
        make("td", { class: "bar-cell", "aria-hidden": "true" }, bar));
    }))), caption);
  }

  const bytes = (value) => (value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(2)} GiB` : `${(value / 2 ** 20).toFixed(1)} MiB`);

  function again(one) {
    return data.commands[one.row[at.cell]] + (one.seed ? ` --seed ${one.seed}` : "");
  }

  function details(one) {
    const { title, given, params, ...method } = one.method;
    const made = data.made[one.row[at.made]];
    const { packages, ...rest } = made;
    const memory = data.names.memory.map((name, place) => [name.replaceAll("_", " "), one.row[at.memory][place]])
      .filter(([, value]) => value !== null).map(([name, value]) => [name, bytes(value)]);
    const marked = Object.keys(params).length ? "Highlighted parameters were given in the command; the others are the method’s defaults or come from a preset." : "This method has no parameters.";
    return [
      make("p", { class: "lead" }, make("span", { class: `status ${one.status}` }, one.state), " ",
        `${data.titles[one.dataset.name]} (${one.dataset.features}, ${one.dataset.semantics}), ${one.protocol.name}, ${one.stage.replace(one.kind, `${one.kind} stage`)}, `
        + `seed ${one.seed}, selection: ${one.selection}`),
      one.error ? part("Error", make("pre", { class: "error", tabindex: "0" }, one.error)) : null,
      metricsPart(one),
      curvePart(one),
      part("Parameters", pairs(Object.entries(params), new Set(given)), make("p", { class: "caption" }, marked)),
      timingsPart(one),
      memory.length ? part("Peak memory", pairs(memory)) : null,
      part("Command that repeats this run", make("pre", { class: "command", tabindex: "0" }, make("code", {}, again(one)))),
      part("Method", pairs(Object.entries(method))),
      part("Data", pairs(Object.entries(one.dataset))),
      part("Protocol", pairs([...Object.entries(one.protocol).filter(([name]) => name !== "params"), ...Object.entries(one.protocol.params ?? {})])),
      part("Provenance", pairs([["run id", one.id], ["finished (UTC)", when(one.row)], ...Object.entries(rest), ...Object.entries(packages ?? {})])),
    ].filter((child) => child !== null);
  }

  function show(one) {
    document.getElementById("run-head").replaceChildren(...breakable(one.method.label || one.method.name));
    document.getElementById("run-body").replaceChildren(...details(one));
    dialog.dataset.run = one.id;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function follow() {
    const one = location.hash.startsWith("#run-") ? byId.get(decodeURIComponent(location.hash.slice(5))) : null;
    if (one) show(one);
    else if (dialog.open) dialog.close();
  }

  function address(hash) {
    history.replaceState(null, "", hash || location.href.split("#")[0]);
  }

  function openRuns() {
    addEventListener("hashchange", follow);
    dialog.addEventListener("close", () => { if (location.hash.startsWith("#run-")) address(""); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.target.closest("pre")) return;
      const next = listed[listed.findIndex((one) => one.id === dialog.dataset.run) + step];
      if (!next) return;
      event.preventDefault();
      address(`#run-${next.id}`);
      show(next);
    });
    follow();
  }

  /* Light or dark: as the system asks, until the button says otherwise. */
  function theme() {
    const button = document.getElementById("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const kept = { get: () => { try { return localStorage.getItem("zslbench-theme"); } catch { return null; } },
      set: (value) => { try { localStorage.setItem("zslbench-theme", value); } catch { /* private windows keep nothing */ } } };
    const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    const label = () => { button.textContent = isDark() ? "Switch to light" : "Switch to dark"; };
    if (["light", "dark"].includes(kept.get())) document.documentElement.dataset.theme = kept.get();
    button.hidden = false;
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      kept.set(document.documentElement.dataset.theme);
      label();
      document.getElementById("theme-state").value = `The page is ${isDark() ? "dark" : "light"} now.`;
    });
    dark.addEventListener("change", label);
    label();
  }

  /* On paper nothing can be unfolded. */
  function unfold() {
    const folded = () => document.querySelectorAll("details:not([open])");
    let opened = [];
    addEventListener("beforeprint", () => { opened = [...folded()]; opened.forEach((one) => { one.open = true; }); });
    addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
  }

  theme();
  unfold();
  document.querySelectorAll("table.sortable").forEach(sortable);
  filterResults();
  document.querySelectorAll("form[data-filters]").forEach(filterRows);
  listRuns();
  openRuns();
})();
