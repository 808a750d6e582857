"""Engines: where jobs are done. All keep one interface, so plan, records and tables are the same whichever it was."""

from zslbench.runner.engines.base import Engine, Listener, Several
from zslbench.runner.engines.serial import SerialEngine

__all__ = ["Engine", "Listener", "SerialEngine", "Several"]
