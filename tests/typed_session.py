"""A user's script with every verb, never run: `mypy --strict` must take what the functions take."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import zslbench


class Nearest:
    def fit(self, train: object, ctx: object) -> "Nearest":
        return self

    def scores(self, features: object, classes: object) -> object:
        return features


names: Sequence[str] = ("eszsl", "sae")
outcome = zslbench.run(names, Path("mine"), seeds=np.int64(2), keep_features=np.int64(2), runs=Path("runs"))
zslbench.run([Nearest, "sae"], "digits", ("zsl",), seeds=np.arange(2))
zslbench.run(Nearest, "digits", stage="dev", fold=np.int32(1), runs="runs")
table = zslbench.table(Path("runs"), methods=names, metrics="T1")
latex: str = table.to_latex(width="column")
path: Path = table.save(Path("t.tex"))
zslbench.compare("eszsl", "sae", runs=Path("runs")).save("c.csv")
zslbench.curve(methods="eszsl").to_frame()
zslbench.plot("curve", Path("curve.svg"), methods=names).save("x.pdf")
zslbench.report("r.html", methods=names, figures=False)
zslbench.ablate("eszsl", "digits", "zsl", sweep="gamma=[1,10]", seeds=[0, 1])
zslbench.tune("eszsl", "digits", "zsl").to_frame()
zslbench.reproduce("xian2018gbu", None, "cub", "eszsl", dry_run=True)
zslbench.status(methods="eszsl").to_frame()
command: str = zslbench.show(outcome.records[0].id, runs=Path("runs")).command
zslbench.load_predictions(str(zslbench.load(Path("runs"))["id"][0])).to_frame()
texts: list[str] = [finding.what for finding in zslbench.doctor()]
texts = [entry.name for entry in zslbench.list("methods")] + [listed.name for listed in zslbench.data.list_(Path("x"))]
zslbench.new_method("my-method", output=Path("folder"))
zslbench.check("eszsl")
zslbench.info("eszsl").to_frame()
fitted = zslbench.fit(Nearest, Path("mine"), seed=np.int64(1))
again = zslbench.load_model(Path("runs/digits/zsl/eszsl/0123456789abcdef.json"), Path("runs"))
zslbench.results.merge("runs", "merged")
