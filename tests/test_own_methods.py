"""`new method` and `check`: what is written works, keeps the contract and registers itself; what is wrong is told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zslbench
from zslbench.checks import Checked, check_dataset, check_method
from zslbench.errors import BadValue, StoreError, UnknownName, ZslbenchError
from zslbench.scaffold import TEMPLATES, new_method


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_package_keeps_the_contract_in_its_own_tests(template, tmp_path, monkeypatch, forks):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading them takes as long as the tests
    made = new_method("My-method2", template, tmp_path / "there")
    assert (made.module, made.cls) == ("my_method2", "MyMethod2")
    assert {str(path.relative_to(made.folder)) for path in made.files} == {
        "pyproject.toml",
        "README.md",
        "my_method2/__init__.py",
        "my_method2/method.py",
        "tests/test_contract.py",
    }
    done = forks.run("import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))", made.folder)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_an_installed_package_is_known_by_its_name(tmp_path, forks):
    made = new_method("zsl-of-mine", output=tmp_path / "source")
    words = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site")]
    installed = subprocess.run([sys.executable, "-m", *words, str(made.folder)], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    words = ["run", "-m", "zsl_of_mine", "-d", "digits", "-p", "zsl"]
    done = forks.type(*words, folder=tmp_path, path=[tmp_path / "site"])
    assert done.returncode == 0, done.stderr
    assert "1 of 1 run is done" in done.stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("eszsl", "there is a method 'eszsl' already"),
        ("numpy", "Python has a module 'numpy' already"),
        ("json", "Python has a module 'json' already"),
        ("class", "'class' is a word of Python's own"),
        ("tests", "a module 'tests' already"),
        ("../up", "cannot name a method"),
        ("2fast", "cannot name a method"),
        ("méthode", "cannot name a method"),
        ("", "cannot name a method"),
    ],
)
def test_names_that_cannot_be_are_refused(name, sentence, tmp_path):
    with pytest.raises(BadValue, match=sentence):
        new_method(name, output=tmp_path / "there")
    assert not list(tmp_path.iterdir())


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_any_name_is_taken_or_refused_in_a_sentence(name):
    from zslbench.scaffold import _name_package

    try:
        module, cls = _name_package(name)
    except BadValue:
        return
    assert module.isidentifier()
    assert cls.isidentifier()
    assert module.replace("_", "") == cls.lower()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(BadValue, match="is there already and not empty"):
        new_method("my-method", output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UnknownName, match="unknown template 'tensorflow'"):
        new_method("my-method", "tensorflow", tmp_path / "there")
    with pytest.raises(StoreError, match="cannot write"):
        new_method("my-method", output=tmp_path / "mine" / "below")


def test_check_names_what_passed_and_what_did_not(tmp_path, forks):
    made = new_method("forgetful", output=tmp_path)
    path = made.folder / "forgetful" / "method.py"
    path.write_text(path.read_text().replace("return self\n", "return None\n", 1))
    done = forks.type("check", made.target, folder=tmp_path)
    assert done.returncode == 1
    assert "ok  card complete" in done.stdout
    assert "keeps the contract" not in done.stdout
    assert "fit does not return self" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_knows_methods_protocols_and_data_sets():
    assert zslbench.check("eszsl[gamma=10]").passed == tuple(check_method("eszsl[gamma=10]"))
    assert zslbench.check("gzsl").kind == "protocol"
    assert zslbench.check("digits") == Checked("dataset", "digits", tuple(check_dataset("digits")))
    assert zslbench.check("zslbench.protocols.zsl:ZSL").kind == "protocol"
    assert zslbench.check("zslbench.data.builtin:Digits").kind == "dataset"


@pytest.mark.realdata
def test_check_reads_the_folder_of_a_data_set(real_data):
    checked = zslbench.check(str(real_data / "FLO_PART"))
    assert (checked.kind, checked.ok, len(checked.passed)) == ("dataset", True, 7)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("eszl", UnknownName, "did you mean 'eszsl'"),
        ("nothing_like_it", UnknownName, "unknown method, data set or protocol"),
        ("fractions:Fraction", BadValue, "neither a Method nor a Protocol"),
        ("no_such_module_here:X", ZslbenchError, "is unavailable"),
    ],
)
def test_what_cannot_be_checked_is_told(text, error, sentence):
    with pytest.raises(error, match=sentence):
        zslbench.check(text)


def test_choices_of_files_are_for_data_sets():
    with pytest.raises(BadValue, match="eszsl is a method; --features"):
        zslbench.check("eszsl", features="res101")
