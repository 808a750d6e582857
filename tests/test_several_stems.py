"""Several features and semantics of one data set: what is planned, done, shown and written of them."""

from __future__ import annotations

import csv
import io
import itertools
import shlex
from pathlib import Path

import data_folders
import live_files
import numpy as np
import own_data
import pytest
from result_records import record
from scipy import stats

import zslbench
from zslbench.data.loading import load_dataset
from zslbench.errors import BadValue, DataMissing, UnknownName
from zslbench.results.records.store import ResultStore
from zslbench.visible import title_data

FEATURES, SEMANTICS = ("lite0", "lite1"), ("att", "words")
PAIRS = list(itertools.product(FEATURES, SEMANTICS))
STEMS = "--features lite0 --semantics att --features lite1 --semantics words"

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(autouse=True)
def _birds(own_home):
    """A data set with two features and two semantics."""
    rng, given = np.random.default_rng(3), own_data.arrays()
    features = given["semantics"][given["labels"]] @ rng.standard_normal((own_data.ATTRIBUTES, own_data.FEATURES))
    words = given["semantics"] @ rng.standard_normal((own_data.ATTRIBUTES, 5))
    own_data.make(
        features={"lite0": given["features"], "lite1": features.astype(np.float32)},
        semantics={"att": given["semantics"], "words": words.astype(np.float32)},
    )


def stems_of(records):
    return [(entry.dataset["features"], entry.dataset["semantics"]) for entry in records]


def test_each_features_goes_with_each_semantics_and_runs_are_those_of_one_command_each(runs):
    outcome = zslbench.run("eszsl", "birds", "zsl", features=FEATURES, semantics=np.array(SEMANTICS), runs=runs)
    assert stems_of(outcome.records) == PAIRS
    for features, semantics in PAIRS:
        single = zslbench.run("eszsl", "birds", "zsl", features=features, semantics=semantics, runs=runs)
        assert [state for _, state in single.states_before] == ["done"]
    again = zslbench.run("eszsl", "birds", features=["lite1", "lite0", "lite1"], semantics="att+words", runs=runs)
    assert {state for _, state in again.states_before} == {"to run"}
    assert len(again.records) == 2 * 2


def test_a_plan_lists_them_and_studies_of_one_each_are_named_apart_too(typed):
    listed = 'methods = "eszsl"\ndatasets = "birds"\nprotocols = "zsl"\nfeatures = ["lite0", "lite1"]\n'
    Path("listed.toml").write_text(listed + 'semantics = "att"\n')
    each = "".join(f'[[study]]\nfeatures = "{stem}"\nsemantics = ["att"]\n' for stem in FEATURES)
    Path("each.toml").write_text(listed.partition("features")[0] + each)
    shown = [typed("run", "--plan", name, "--dry-run") for name in ("listed.toml", "each.toml")]
    assert shown[0] == shown[1]
    assert [f"eszsl birds ({stem}, att) zsl seed 0" in shown[0][1] for stem in FEATURES] == [True, True]
    Path("listed.toml").write_text(listed + "semantics = []\n")
    code, _, err = typed("run", "--plan", "listed.toml")
    assert (code, "semantics is []; write a text or a list of texts" in " ".join(err.split())) == (2, True)


def test_listing_and_progress_name_them_where_there_are_several(typed):
    words = shlex.split(f"run -m eszsl -d birds -p gzsl {STEMS}")
    code, out, _ = typed(*words, "--dry-run")
    assert code == 0
    assert [f"eszsl birds ({', '.join(pair)}) gzsl seed 0" in out for pair in PAIRS] == [True] * 4
    code, _, err = typed(*words)
    assert code == 0
    assert [f"eszsl birds ({', '.join(pair)}) seed 0: U " in err for pair in PAIRS] == [True] * 4
    code, out, err = typed(*words[:7], "--features", "lite1", "--dry-run")
    assert "eszsl birds gzsl seed 0  done" in " ".join(out.split("   "))
    grid = "eszsl[gamma=[1..9]]"
    head, _ = zslbench.run(grid, "birds", features=FEATURES, semantics=SEMANTICS, dry_run=True).planned_table()
    assert head == ("method", *(f"birds ({', '.join(pair)})" for pair in PAIRS))


def test_a_stem_that_a_data_set_lacks_is_one_sentence_before_anything_runs(typed):
    code, _, err = typed("run", "-m", "eszsl", "-d", "birds", "--features", "lite0", "--features", "lite9")
    assert code == 2
    assert "data set 'birds' has no features 'lite9'; it has: lite0, lite1" in " ".join(err.split())
    code, _, err = typed("run", "-m", "eszsl", "-d", "birds", "--features", "lite0,lite1")
    assert code == 2
    words = "it has: lite0, lite1; choose one with --features; for several, write --features once for each."
    assert words in " ".join(err.split())
    assert not Path("runs").exists()
    with pytest.raises(BadValue, match="no semantics was given; name at least one with --semantics"):
        zslbench.run("eszsl", "birds", semantics=())


@pytest.mark.parametrize("verb", ["tune eszsl -d", "ablate eszsl -d", "check", "data card"])
def test_a_verb_that_takes_one_refuses_two(typed, verb):
    code, _, err = typed(*verb.split(), "birds", "--semantics", "att", "--semantics", "words")
    assert code == 2
    assert "--semantics was given 2 times (att, words), but one is allowed" in " ".join(err.split())


def test_status_knows_which_of_them_is_missing_and_which_is_running(runs):
    zslbench.run("eszsl", "birds", "zsl", features="lite0", runs=runs)
    cut = zslbench.run("toy_methods:Broken", "birds", "zsl", features=FEATURES, runs=runs)
    assert [entry.status for entry in cut.records] == ["failed", "failed"]
    fit = live_files.fit(0, label="toy_methods:Broken", dataset="birds (lite1, att)", protocols=("zsl",))
    live_files.put(runs, live_files.study(running=(fit,)))
    states = zslbench.status(runs).survey.states
    by_stem = {(slot.row, slot.place.features): state for slot, state in states.items()}
    broken = "toy_methods:Broken"
    assert by_stem == {("eszsl", "lite0"): "done", (broken, "lite0"): "failed", (broken, "lite1"): "running"}
    assert title_data("cub (res101, att)") == "CUB (res101, att)"


def test_status_counts_data_sets_and_not_their_features(runs):
    zslbench.run("eszsl", "birds", "zsl", features=FEATURES, runs=runs)
    assert "complete: 1 row on 1 data set under zsl: 2 runs" in zslbench.status(runs).text


def put(folder, *records):
    """Save records and return the folder."""
    store = ResultStore(folder)
    for entry in records:
        store.save(entry)
    return folder


LITE, METHODS = ("lite0", "lite1", "lite2"), ("ale", "sae", "eszsl")


def crossed(folder, stems=LITE, datasets=("cub",), methods=METHODS, axis="features"):
    """Save runs of each method on each stem of each data set, with accuracies by chance, and return the folder."""
    rng = np.random.default_rng(len(stems))
    return put(
        folder,
        *(
            record(method, data, "gzsl", seed, {name: rng.random() for name in "USH"}, **{axis: stem})
            for method, data, stem in itertools.product(methods, datasets, stems)
            for seed in range(1 if method == "eszsl" else 3)
        ),
    )


@pytest.mark.parametrize("format", ["terminal", "csv"])
def test_a_table_never_mixes_features_and_names_them(runs, format):
    crossed(runs)
    table = zslbench.table(runs, format=format)
    seeds = {(row["method"], row["features"], row["n"]) for row in table.list_facts()}
    assert seeds == {(name, stem, 1 if name == "eszsl" else 3) for name in METHODS for stem in LITE}
    heads = [f"CUB ({stem}, att)" if format == "terminal" else f",{stem},att," for stem in LITE]
    assert [head in table.text for head in heads] == [True] * 3
    if format == "terminal":
        assert "CUB: lite0, lite1, lite2 features, att semantics, proposed split" in " ".join(table.text.split())


def test_readers_take_several_and_columns_name_one(runs, typed):
    crossed(runs)
    code, out, _ = typed("table", "--runs", str(runs), "--features", "lite0", "--features", "lite2", "-f", "csv")
    assert code == 0
    assert {row["features"] for row in csv.DictReader(io.StringIO(out))} == {"lite0", "lite2"}
    (table,) = zslbench.table(runs, columns=["H@cub:lite2,U@cub:lite0:att"]).make_tables("terminal", 200)
    columns = [(column.metric, column.stems) for column in table.columns]
    assert columns == [("H", ("lite2", "att")), ("U", ("lite0", "att"))]
    facts = zslbench.table(runs, format="csv").list_facts()
    values = {row["method"]: row["mean"] for row in facts if (row["features"], row["metric"]) == ("lite2", "H")}
    (table,) = zslbench.table(runs, columns=["H"], sort="H@cub:lite2").make_tables("terminal", 200)
    assert [row.method for row in table.blocks[0].rows] == sorted(values, key=values.__getitem__, reverse=True)
    with pytest.raises(BadValue, match=r"no row has H on 'cub:lite7'; it was measured on CUB \(lite0, att\), CUB"):
        zslbench.table(runs, columns=["H@cub:lite7"])
    with pytest.raises(BadValue, match="has features 'lite9'; there are: lite0, lite1, lite2"):
        zslbench.table(runs, features=["lite0", "lite9"])


def test_statistics_of_joined_semantics_and_of_several(typed):
    command = "table --layout stats -d birds --features lite0 --semantics att+words --semantics att -f csv"
    code, out, err = typed(*shlex.split(command))
    assert code == 0, err
    rows = [*csv.DictReader(io.StringIO(out))]
    assert [(row["semantics"], int(row["semantic_dimension"])) for row in rows] == [("att+words", 3 + 5), ("att", 3)]


def test_statistics_of_a_folder_join_semantics(tmp_path):
    folder = data_folders.write_folder(tmp_path / "XLSA")
    more = np.random.default_rng(2).random((4, data_folders.CLASSES))
    data_folders.write_folder(folder, semantics={"att": more}, semantics_stem="more")
    (row,) = zslbench.table(layout="stats", datasets=[str(folder)], semantics="att+more").list_facts()
    assert row["semantic_dimension"] == data_folders.ATTRIBUTES + 4
    assert row["fingerprint"] == load_dataset(str(folder), semantics="att+more").fingerprint
    with pytest.raises(DataMissing, match="has no semantics 'less'; it has: att, more"):
        zslbench.table(layout="stats", datasets=[str(folder)], semantics="att+less")


def test_one_method_is_compared_over_the_features_of_a_data_set(runs):
    outcome = zslbench.run(["eszsl", "ridge"], "birds", "zsl", features=FEATURES, semantics="att", runs=runs)
    facts = zslbench.compare("eszsl", runs=runs, format="csv").list_facts()
    names = {(row["a"], row["b"], row["features"], row["semantics"]) for row in facts}
    assert names == {("ESZSL (lite0)", "ESZSL (lite1)", "lite0, lite1", "att")}
    first, second = (entry.metrics["T1"] for entry in outcome.records if entry.method["name"] == "eszsl")
    assert [row["difference"] for row in facts] == pytest.approx([100 * (first - second)] * 2)
    with pytest.raises(BadValue, match="'ridge' is one method, and no data set has runs of it on several features"):
        zslbench.compare("ridge", runs=runs, features=["lite0"])


def shares_of(figure, metric="H"):
    return {row["what"]: row for row in figure.rows if row["what"] != "mean" and row["metric"] == metric}


def naive_squares(table):
    """Sums of squares between methods, between stems, of their interaction and in all, by loops over the means."""
    methods, stems = list(dict.fromkeys(m for m, _ in table)), list(dict.fromkeys(s for _, s in table))
    grand = sum(table.values()) / len(table)
    row = {m: sum(table[m, s] for s in stems) / len(stems) for m in methods}
    column = {s: sum(table[m, s] for m in methods) / len(methods) for s in stems}
    cells = [(row[m] - grand, column[s] - grand, table[m, s] - row[m] - column[s] + grand) for m, s in table]
    total = sum((value - grand) ** 2 for value in table.values())
    return [sum(cell[part] ** 2 for cell in cells) for part in range(3)], total


@pytest.mark.parametrize("axis", ["features", "semantics"])
@pytest.mark.parametrize("datasets", [("cub",), ("cub", "sun")])
def test_the_shares_are_those_of_a_two_way_table(runs, axis, datasets):
    crossed(runs, datasets=datasets, axis=axis)
    figure = zslbench.plot("backbones", runs=runs, metrics=["H"])
    values = {}
    for entry in ResultStore(runs).load():
        values.setdefault((entry.method["name"], entry.dataset[axis]), []).append(100 * entry.metrics["H"])
    means = {key: sum(numbers) / len(numbers) for key, numbers in values.items()}
    drawn = {(row["method"], row[axis]): row["mean"] for row in figure.rows if row["what"] == "mean"}
    assert drawn == pytest.approx(means)
    squares, total = naive_squares(means)
    shares = shares_of(figure)
    assert [*shares] == ["method", axis, "interaction"]
    assert sum(squares) == pytest.approx(total)
    assert [row["sum of squares"] for row in shares.values()] == pytest.approx(squares)
    assert [row["share (%)"] for row in shares.values()] == pytest.approx([100 * part / total for part in squares])
    assert [row["degrees of freedom"] for row in shares.values()] == [2, 2, 4]
    method, stems, both = (f"{100 * part / total:.0f} %" for part in squares)
    said = f"H has {method} between methods, {stems} between {axis}, {both} in their interaction"
    assert said in " ".join(figure.describe("short"))
    assert ("mean over data sets" in figure.caption[0]) is (len(datasets) > 1)


def test_bars_are_intervals_over_seeds_of_the_mean_over_data_sets(runs):
    crossed(runs, datasets=("cub", "sun"))
    figure = zslbench.plot("backbones", runs=runs, metrics=["U"])
    (row,) = (row for row in figure.rows if (row.get("method"), row.get("features")) == ("ale", "lite1"))
    of_seed = {}
    for entry in ResultStore(runs).load():
        if (entry.method["name"], entry.dataset["features"]) == ("ale", "lite1"):
            of_seed.setdefault(entry.seed, []).append(100 * entry.metrics["U"])
    seeds = np.array([np.mean(values) for values in of_seed.values()])
    low, high = stats.t.interval(0.95, 2, seeds.mean(), stats.sem(seeds))
    assert (row["low"], row["high"], row["n"]) == (pytest.approx(low), pytest.approx(high), 3)


def test_additive_and_equal_means(runs, tmp_path):
    bonus = {"lite0": 0.25, "lite1": 0.5}
    chosen = [*itertools.product(("eszsl", "sae"), bonus)]
    put(runs, *(record(method, metrics={"T1": bonus[stem]}, features=stem) for method, stem in chosen))
    shares = shares_of(zslbench.plot("backbones", runs=runs), "T1")
    assert [row["share (%)"] for row in shares.values()] == pytest.approx([0, 100, 0])
    put(tmp_path / "equal", *(record(method, features=stem) for method, stem in chosen))
    assert "T1 has none" in " ".join(zslbench.plot("backbones", runs=tmp_path / "equal").caption)


def test_what_a_backbones_figure_refuses(runs, tmp_path):
    crossed(runs)
    put(runs, record("dap", "cub", "gzsl", 0, {"H": 0.5}, features="lite1", label="dap[smoothing=2]"))

    def refuse(sentence, kind=BadValue, folder=runs, **options):
        with pytest.raises(kind, match=sentence):
            zslbench.plot("backbones", runs=folder, **options)

    command = r"zslbench run -m 'dap\[smoothing=2\]' -d cub -p gzsl --features lite0 --semantics att"
    refuse(rf"dap has no finished run on cub with lite0 features under gzsl; run it \(`{command}`\)")
    refuse("needs two methods, and H is of ale alone", methods=["ale"])
    refuse(r"needs two features of a data set, and the runs asked for have one \(lite1\)", features=["lite1"])
    refuse(r"needs two semantics of a data set, and the runs asked for have one \(att\)", parameter="semantics")
    refuse("unknown axis 'layers'", UnknownName, parameter="layers")
    refuse("unknown metric 'T2'", UnknownName, metrics=["T2"])
    both = crossed(crossed(tmp_path / "both", FEATURES), ("att", "words"), axis="semantics")
    refuse(r"on CUB have several semantics \(att, words\) beside the features; .*--param semantics", folder=both)
    zslbench.plot("backbones", runs=both, features=["fc1000"])
    uneven = crossed(tmp_path / "uneven", FEATURES, ("cub", "sun"))
    put(uneven, *(record("ale", "sun", "gzsl", 7, {"H": 0.5, "U": 0.5}, features=stem) for stem in FEATURES))
    refuse("ale with lite0 features has other seeds on each data set", folder=uneven)
    zslbench.plot("backbones", runs=uneven, datasets=["cub"])
    other = record("ale", "cub", "gzsl", 0, {"H": 0.5}, features="lite1", fingerprint="f")
    refuse(
        "ale has 2 rows on cub with lite1 features, of different content", folder=put(crossed(tmp_path / "o"), other)
    )


def test_the_report_draws_methods_that_have_every_stem(runs, tmp_path):
    crossed(runs)
    put(runs, record("dap", "cub", "gzsl", 0, {"H": 0.5}, features="lite1"))
    figures = zslbench.report(None, runs=runs).page.figures
    (figure,) = (figure for figure in figures if figure.kind == "backbones")
    assert figure.title == "Methods by features, CUB (att)"
    assert ("ale" in figure.svg, "dap" in figure.svg) == (True, False)
    few = put(tmp_path / "few", *(record("ale", "cub", "gzsl", 0, {"H": 0.5}, features=stem) for stem in FEATURES))
    assert "backbones" not in {figure.kind for figure in zslbench.report(None, runs=few).page.figures}


def test_a_report_draws_each_protocol_by_itself_and_names_what_is_beside_the_axis(runs):
    chosen = [*itertools.product(("sae", "eszsl"), FEATURES, SEMANTICS)]
    put(runs, *(record(name, features=stem, semantics=words) for name, stem, words in chosen))
    put(runs, *(record("sae", "cub", "gzsl", 0, {"H": 0.5}, features=stem) for stem in FEATURES))
    put(runs, record("eszsl", "cub", "gzsl", 0, {"H": 0.5}, features="lite2"))
    page = zslbench.report(None, runs=runs).page
    drawn = {figure.title: figure.remarks for figure in page.figures if figure.kind == "backbones"}
    beside = {"features": SEMANTICS, "semantics": FEATURES}
    assert [*drawn] == [f"Methods by {axis}, CUB ({stem})" for axis, stems in beside.items() for stem in stems]
    assert all("T1 by method" in str(caption) and " H " not in str(caption) for caption in drawn.values())
    with pytest.raises(BadValue, match="H is of sae alone; run another under gzsl, too, or choose other numbers with"):
        zslbench.plot("backbones", runs=runs, features=FEATURES, semantics="att")
    zslbench.plot("backbones", runs=runs, features=FEATURES, semantics="att", metrics=["T1"])


def test_ten_methods_and_six_stems_are_drawn_with_slanted_names(runs):
    crossed(runs, [f"backbone_of_{number}" for number in range(6)], methods=[f"m{number}" for number in range(10)])
    (axes,) = zslbench.plot("backbones", runs=runs).axes
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {40.0}
    assert len([line for line in axes.lines if len(line.get_xdata()) == 6]) == 10
