"""`zslbench show`: a record whole, and a command that makes it again when it is pasted anywhere."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import small_cub, write_folder
from result_records import record, saved
from rich.console import Console
from test_results_objects import Page
from typed_commands import run_here

import zslbench
from zslbench.commands import screen
from zslbench.errors import BadValue, StoreError
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore

GAN = "fclswgan[hidden=8,epochs=3,pretrain_epochs=1,per_class=3,final_epochs=1]"


def run(*given: Any, **options: Any) -> Record:
    (made,) = zslbench.run(*given, **options).records
    return made


def paste(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type a command in another folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    code, _, errors = run_here(shlex.split(command))
    assert code == 0, errors


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("eszsl[gamma=10]", {"protocols": "gzsl"}),
        ("eszsl", {"protocols": "zsl", "stage": "dev", "fold": 2}),
        (GAN, {"protocols": "zsl", "seeds": [3], "checkpoints": "every:1", "precision": "bf16", "keep_features": 2}),
        ("lisgan@S1[hidden=8,epochs=1,pretrain_epochs=1,per_class=3,final_epochs=1]", {"protocols": "zsl"}),
        ("sae", {"protocols": "zsl", "oracle": True}),
    ],
)
def test_the_command_makes_the_record_again_from_another_folder(method, options, tmp_path, monkeypatch):
    made = run(method, "digits", runs=tmp_path / "my runs", **options)
    shown = zslbench.show(made.id[:6], runs=tmp_path / "my runs")
    assert shown.record == made
    shown.path.unlink()
    paste(shown.command, tmp_path / "elsewhere", monkeypatch)
    again = zslbench.show(made.id, runs=tmp_path / "my runs").record
    assert (again.method, again.metrics, again.curve, again.losses) == (
        made.method,
        made.metrics,
        made.curve,
        made.losses,
    )
    assert (again.selection, again.stage, again.fold, again.seed) == (made.selection, made.stage, made.fold, made.seed)
    for name in ("precision", "checkpoint_every", "kept_features"):
        assert again.provenance.get(name) == made.provenance.get(name)


class Worded:
    """A method of one's own with a text among its parameters."""

    stochastic = False
    word: str = ""

    def fit(self, train, ctx):
        semantics = train.classes.semantics[train.classes.positions(train.labels)]
        self.weights_ = np.linalg.lstsq(train.features, semantics, rcond=None)[0]

    def scores(self, features, classes):
        return features @ self.weights_ @ classes.semantics.T


@pytest.mark.parametrize("word", ['a,b]c [d] it\'s "q" $HOME `x` \\ größe ✓ x@y=z ', "true", "-1..3"])
def test_any_text_among_the_parameters_survives_the_shell(word, tmp_path, monkeypatch):
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    made = run(f"test_show:Worded[word='{escaped}']", "digits", "zsl", runs=tmp_path / "my runs")
    assert made.method["params"] == {"word": word}
    shown = zslbench.show(made.id, runs=tmp_path / "my runs")
    shown.path.unlink()
    paste(f"{shown.command} -q", tmp_path / "elsewhere", monkeypatch)
    assert zslbench.show(made.id, runs=tmp_path / "my runs").record.metrics == made.metrics


def test_an_own_folder_and_a_data_root_are_kept_as_absolute_paths(tmp_path, monkeypatch):
    write_folder(tmp_path / "my data")
    monkeypatch.chdir(tmp_path)
    made = run("eszsl", "./my data", "zsl", runs=tmp_path / "runs")
    assert made.provenance["own_folder"] == str(tmp_path / "my data")
    assert "data_root" not in made.provenance
    shown = zslbench.show(made.id, runs=tmp_path / "runs")
    shown.path.unlink()
    paste(shown.command, tmp_path / "elsewhere", monkeypatch)
    again = zslbench.show(made.id, runs=tmp_path / "runs")
    assert again.record.metrics == made.metrics
    assert again.command == shown.command
    assert not again.remarks


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_data_root_is_in_the_command(how, tmp_path, monkeypatch):
    small_cub(monkeypatch, tmp_path / "home")
    data_root = tmp_path / "xlsa17"
    write_folder(data_root / "CUB")
    monkeypatch.chdir(tmp_path)
    if how == "variable":
        monkeypatch.setenv("ZSLBENCH_DATA", data_root.name)
    made = run("eszsl", "cub", "zsl", runs=tmp_path / "runs", data_root=data_root.name if how == "option" else None)
    monkeypatch.delenv("ZSLBENCH_DATA", raising=False)
    assert made.provenance["data_root"] == str(data_root)
    shown = zslbench.show(made.id, runs=tmp_path / "runs")
    shown.path.unlink()
    paste(shown.command, tmp_path / "elsewhere", monkeypatch)
    assert zslbench.show(made.id, runs=tmp_path / "runs").record.metrics == made.metrics


def test_a_method_that_is_not_in_this_folder_is_said_to_be_elsewhere(tmp_path):
    elsewhere = record("my_lost_file:Mine")
    shown = zslbench.show(elsewhere.id, runs=saved(tmp_path, [elsewhere]))
    (remark,) = shown.remarks
    assert remark == "there is no module my_lost_file here; type the command in the folder of my_lost_file.py"
    assert remark in shown.text
    assert not zslbench.show(run("test_show:Worded", "digits", "zsl", runs=tmp_path).id, runs=tmp_path).remarks


def test_a_preset_that_means_other_values_by_now_is_written_out(tmp_path):
    made = run("eszsl[gamma=10,lam=2]", "digits", "zsl", runs=tmp_path)
    changed = dataclasses.replace(made, method={**made.method, "label": "eszsl@gone"})
    ResultStore(tmp_path).relabel(changed)
    shown = zslbench.show(made.id, runs=tmp_path)
    assert "-m 'eszsl[gamma=10,lam=2]'" in shown.command
    assert shown.changed.keys() == {"gamma", "lam"}


def test_everything_is_in_the_text_the_json_and_the_notebook(tmp_path):
    made = run(GAN, "digits", "zsl", runs=tmp_path, checkpoints="every:1")
    shown = zslbench.show(made.id, runs=tmp_path)
    for part in (
        f"run {made.id}",
        shown.command,
        "* hidden            8  (default: 4096)",
        "    batch             64",
        f"T1 {100 * made.metrics['T1']:.1f}",
        f"step 3  T1 {100 * made.curve[-1]['metrics']['T1']:.1f}",
        f"step 3  critic {made.losses['values']['critic'][-1]:.4g}",
        made.provenance["finished"],
        str(shown.path),
        str(shown.path.with_suffix(".npz")),
    ):
        assert part in shown.text
    assert repr(shown) == shown.text
    document = json.loads(shown.to_json())
    assert document["command"] == shown.command
    assert document["record"]["metrics"] == made.metrics
    assert document["changed"]["hidden"] == 8
    assert document["files"] == [str(shown.path), str(shown.path.with_suffix(".npz"))]
    page = Page(shown._repr_html_())
    assert ["* hidden", "8  (default: 4096)"] in page.rows
    assert ["finished", made.provenance["finished"]] in page.rows
    assert shown.command in page.outside


def test_a_long_curve_of_losses_shows_its_ends(tmp_path):
    made = dataclasses.replace(
        record(), losses={"step": [*range(1, 151)], "values": {"<i>loss": [1 / step for step in range(1, 151)]}}
    )
    shown = zslbench.show(made.id, runs=saved(tmp_path, [made]))
    assert "losses (10 of 150 points)" in shown.text
    assert "  step 1    <i>loss 1\n" in shown.text
    assert "  step 150  <i>loss 0.006667\n" in shown.text
    assert "<i>loss" not in shown._repr_html_()  # escaped


def test_a_failed_run_shows_its_traceback_and_no_control_character_gets_out(tmp_path):
    error = 'Traceback (most recent call last):\n  File "/me/a.py", line 3, in fit\n\x1b[2JOdd: x'
    failed = record(status="failed", error=error)
    shown = zslbench.show(failed.id, runs=saved(tmp_path, [failed]))
    assert "(a.py:3, in fit)" in shown.text
    assert 'File "/me/a.py", line 3, in fit' in shown.text
    assert "\x1b" not in shown.text + shown._repr_html_()


def test_how_a_run_is_named(tmp_path, monkeypatch):
    first, second = record("a"), record("b")
    runs = saved(tmp_path, [first, second])
    path = ResultStore(runs).path(first)
    assert zslbench.show(path).record == zslbench.show(path.with_suffix(".npz")).record == first
    assert zslbench.show(str(path), runs="nowhere").command.endswith(f"--rerun all --runs {runs}")
    copy = tmp_path / "copies" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert zslbench.show(copy, runs=runs).record == first
    monkeypatch.chdir(path.parent)
    assert zslbench.show(path.name).record == first
    twin = next(other for seed in range(1, 10**6) if (other := record("a", seed=seed)).id[:4] == first.id[:4])
    saved(tmp_path, [twin])
    with pytest.raises(BadValue, match=rf"2 runs in .* begins with '{first.id[:4]}': .*{twin.id}.*; write more of it"):
        zslbench.show(first.id[:4], runs=runs)
    (tmp_path / "my_thesis.json").write_text("{}")
    for wrong, sentence in (
        ("abc", "'abc' is not the id of a run; write 4 to 16 of its digits"),
        ("my_First:Near", "'my_First:Near' is not the id of a run; "),
        ("eszsl", "which `zslbench show --runs .*` lists"),
        ("0000", "no run in .* has the id '0000'; `zslbench show --runs .*` lists the ids"),
        ("no/such.json", "does not exist"),
        ("", "'' is not the id of a run; write 4 to 16 of its digits"),
        ("..", r"\.\. is a folder; name the file of a record in it"),
        (
            tmp_path / "my_thesis.json",
            r"my_thesis\.json is not the file of a record, which is <id>\.json; name one, or",
        ),
    ):
        with pytest.raises(BadValue, match=sentence):
            zslbench.show(wrong, runs=runs)
    path.write_text("{}")
    with pytest.raises(StoreError, match="is not a zslbench record"):
        zslbench.show(first.id[:8], runs=runs)


def ended(made: Record, at: str) -> Record:
    return dataclasses.replace(made, provenance={**made.provenance, "finished": at})


def test_without_an_id_or_with_a_name_runs_are_listed_newest_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = ended(record("a", label="a[x=1]", protocol="gzsl", seed=7), "2026-01-02T03:04:05+00:00")
    new = ended(record("a", "sun", stage="dev", fold=2, status="failed", error="odd"), "2026-02-03T04:05:06+00:00")
    saved(tmp_path / "runs", [old, new, record("b", "sun")])
    code, text, _ = run_here(["zslbench", "show"])
    heads, *rows = [re.split(r" {2,}", line) for line in text.splitlines()]
    assert (code, heads) == (0, ["id", "run", "status", "ended (UTC)"])
    assert rows[:2] == [
        [new.id, "a SUN zsl dev2 seed 0", "failed", "2026-02-03 04:05"],
        [old.id, "a[x=1] CUB gzsl seed 7", "ok", "2026-01-02 03:04"],
    ]
    assert len(rows) == 3, "where there is no terminal, all are listed"
    assert [fact["id"] for fact in json.loads(run_here(["zslbench", "show", "a", "-f", "json"])[1])] == [new.id, old.id]
    assert run_here(["zslbench", "show", "sun"])[1].count("\n") == 3
    assert run_here(["zslbench", "show", "b"])[1].startswith(f"run {record('b', 'sun').id}\n"), "there is only one"
    assert run_here(["zslbench", "show", "c"])[0] == 2
    assert "there are no runs in empty; make some" in run_here(["zslbench", "show", "--runs", "empty"])[2]


def test_a_terminal_lists_a_screenful_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "runs", [record("b", seed=seed) for seed in range(9)])
    console = Console(file=io.StringIO(), force_terminal=True, width=90, height=10, color_system=None)
    monkeypatch.setattr(screen, "wide_console", lambda: console)
    monkeypatch.setattr(screen, "live_console", lambda: console)
    _, text, _ = run_here(["zslbench", "show"])
    assert console.file.getvalue().count("b CUB zsl") == 6
    assert "and 3 more runs; name a method" in text


def test_finished_runs_of_the_dev_stage_are_listed_after_all_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [
        record("a", stage="dev", fold=1),
        record("a", stage="dev", fold=2, status="failed", error="odd"),
        record("a", stage="dev", fold=3),
        record("a"),
    ]
    made = [ended(run, f"2026-01-0{day}T03:04:05+00:00") for run, day in zip(made, (4, 2, 3, 1), strict=True)]
    saved(tmp_path / "runs", made)
    listed = [line.split()[0] for line in run_here(["zslbench", "show"])[1].splitlines()[1:]]
    assert listed == [made[at].id for at in (1, 3, 0, 2)]


def test_an_old_record_of_own_data_leaves_its_folder_to_the_user(tmp_path):
    own = record(dataset="flowers", origin="own")
    shown = zslbench.show(own.id, runs=saved(tmp_path, [own]))
    assert "-d PATH/TO/flowers" in shown.command
    assert "write its folder into the command" in shown.text
