"""Executors: where runs are done, all by one loop, so that records are the same whichever it was."""

from zslbench.runner.executors.base import Executor, Listener, Several
from zslbench.runner.executors.loop import SerialExecutor

__all__ = ["Executor", "Listener", "SerialExecutor", "Several"]
