"""Registries: laziness, plugins, and names that are wrong."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

from zslbench.errors import BadSpec, Unavailable, UnknownName
from zslbench.registry import METHODS, Registry


@pytest.fixture
def plugin(monkeypatch):
    """A registry with one good and one broken plugin, brought by entry points."""
    points = (
        importlib.metadata.EntryPoint("good", "collections:OrderedDict", "zslbench.things"),
        importlib.metadata.EntryPoint("broken", "no_such_module_here:Thing", "zslbench.things"),
        importlib.metadata.EntryPoint("taken", "collections:Counter", "zslbench.things"),
    )
    monkeypatch.setattr("zslbench.registry.read_entry_points", lambda: importlib.metadata.EntryPoints(points))
    return Registry("thing", "zslbench.things", {"taken": "types:SimpleNamespace"})


def test_a_broken_plugin_stays_listed_and_breaks_nothing(plugin):
    assert plugin.names() == ["broken", "good", "taken"]
    assert plugin.load("good").__name__ == "OrderedDict"
    with pytest.raises(Unavailable, match=r"'broken' is unavailable.*no_such_module_here"):
        plugin.load("broken")


def test_builtins_win_over_plugins(plugin):
    assert plugin.load("taken") is types.SimpleNamespace


def test_a_class_can_be_named_directly(plugin):
    assert plugin.load("fractions:Fraction").__name__ == "Fraction"
    with pytest.raises(Unavailable, match="has no Nothing"):
        plugin.load("fractions:Nothing")
    with pytest.raises(Unavailable, match="is not a class"):
        plugin.load("math:sqrt")


def test_a_misspelt_module_or_class_of_ones_own_gets_a_suggestion(plugin, tmp_path, monkeypatch):
    source = "class Mine:\n    def fit(self): ...\n    def scores(self): ...\nclass Other: ...\n"
    (tmp_path / "my_spelt.py").write_text(source)
    (tmp_path / "my_needy.py").write_text("import no_such_module_here\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        Unavailable, match=r"no module my_spetl here .*folder of my_spetl.py, .*did you mean 'my_spelt'"
    ):
        plugin.load("my_spetl:Mine")
    with pytest.raises(Unavailable, match=r"no module zzzzzz here .*; type it in the folder of zzzzzz.py\.$"):
        plugin.load("zzzzzz:Mine")
    with pytest.raises(Unavailable, match=r"has no Min; its classes with fit and scores: Mine\.$"):
        plugin.load("my_spelt:Min")
    with pytest.raises(Unavailable, match=r"importing my_needy failed \(No module named 'no_such_module_here'\)"):
        plugin.load("my_needy:Mine")


def test_a_module_that_raises_on_import_is_unavailable(plugin, tmp_path, monkeypatch):
    (tmp_path / "explodes_on_import.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Unavailable, match=r"\(RuntimeError: no licence \(explodes_on_import.py:1, in <module>\)\)\.$"):
        plugin.load("explodes_on_import:Thing")
    (tmp_path / "divides_on_import.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    with pytest.raises(Unavailable, match=r"ZeroDivisionError: division by zero \(divides_on_import.py:2, in f\)"):
        plugin.load("divides_on_import:Thing")
    (tmp_path / "cannot_be_read.py").write_text("\ndef f(:\n")
    with pytest.raises(Unavailable, match=r"SyntaxError: .*\(cannot_be_read.py, line 2\)"):
        plugin.load("cannot_be_read:Thing")
    (tmp_path / "exits_on_import.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(Unavailable, match=r"SystemExit: 3 .*; a script that is also imported does its work below if"):
        plugin.load("exits_on_import:Thing")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./mine.py:Mine", "names no class; write mine:Mine.$"),
        ("mine.py:Mine", "names no class; write mine:Mine.$"),
        ("a/b/mine.py:Mine", "names no class; write mine:Mine, in the folder of mine.py.$"),
        ("mine:", "names no class; write mine:Class.$"),
        (":Mine", "names no class; write pkg.module:Mine.$"),
        (".mine:Mine", "names no class; write mine:Mine.$"),
    ],
)
def test_a_file_or_half_a_name_is_answered_with_the_name_of_the_class(plugin, name, sentence):
    with pytest.raises(BadSpec, match=sentence):
        plugin.load(name)


def test_unknown_names_offer_the_nearest_or_all(plugin):
    with pytest.raises(UnknownName, match="unknown thing 'goood'; did you mean 'good'"):
        plugin.load("goood")
    with pytest.raises(UnknownName, match="choose one of: broken, good, taken"):
        plugin.load("zzzzzz")


def test_parameters_after_a_colon_are_told_apart_from_a_class():
    with pytest.raises(BadSpec, match=r"write dap\[l2=1\]"):
        METHODS.entry("dap:l2=1")
    assert METHODS.entry("dap:Mine").target == "dap:Mine"  # a module of one's own may have a method's name


def test_names_from_records_find_what_is_loaded_and_import_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "blocked_module", None)  # as an import that failed, or was forbidden, leaves it
    assert METHODS.load_recorded("blocked_module:Mine") is None
    assert METHODS.load_recorded("no_such_module_here:Mine") is None
    assert METHODS.load_recorded("types:SimpleNamespace") is types.SimpleNamespace
