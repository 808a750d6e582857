"""zslbench: a benchmark harness for zero-shot learning.

Each verb of the command line is a function of the same name (``zslbench data fetch`` is `zslbench.data.fetch`,
``zslbench new method`` is `zslbench.new_method`). A module is imported when one of its functions is first used, so
``import zslbench`` is instant.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_VERBS = {
    "run": "zslbench.runner.run:run",
    "fit": "zslbench.runner.fitted:fit",
    "load_model": "zslbench.runner.fitted:load_model",
    "read_plan": "zslbench.runner.plan:read_plan",
    "table": "zslbench.studies.record_table:table",
    "engine": "zslbench.runner.executors:engine",
    "compare": "zslbench.studies.compare:compare",
    "curve": "zslbench.studies.curve:curve",
    "plot": "zslbench.studies.plot:plot",
    "report": "zslbench.studies.report:report",
    "tune": "zslbench.studies.tune:tune",
    "ablate": "zslbench.studies.ablate:ablate",
    "reproduce": "zslbench.studies.reproduce:reproduce",
    "status": "zslbench.studies.status:status",
    "show": "zslbench.studies.show:show",
    "load": "zslbench.studies.load:load",
    "load_predictions": "zslbench.studies.load:load_predictions",
    "watch": "zslbench.results.records.watch:watch",
    "list": "zslbench.inspection:list_",
    "info": "zslbench.inspection:info",
    "doctor": "zslbench.installation:doctor",
    "check": "zslbench.checks:check",
    "new_method": "zslbench.scaffold:new_method",
    "data": "zslbench.data",
    "results": "zslbench.results",
}


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'zslbench' has no attribute {name!r}")
    module, _, attribute = _VERBS[name].partition(":")
    imported = importlib.import_module(module)
    if not attribute:
        return imported
    from zslbench import arguments

    return arguments.plain(getattr(imported, attribute))


def __dir__() -> list[str]:
    return sorted([*globals(), *_VERBS])
