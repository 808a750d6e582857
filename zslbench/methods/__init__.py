"""Methods, and everything that is needed to write one."""

from zslbench.methods.base import Ablation, Context, Method, MethodCard, Preset, Setting, Size

__all__ = ["Ablation", "Context", "Method", "MethodCard", "Preset", "Setting", "Size"]
