"""The contract, as checks that anyone can run on a method, data set or protocol of their own.

>>> from zslbench.checks import check_method
>>> len(check_method("eszsl")) > 15
True

Each function returns the names of the checks that passed, and raises `CheckFailed` at the first that does not.
"""

from __future__ import annotations

from zslbench.checks.contract import CheckFailed
from zslbench.checks.dataset import check_dataset
from zslbench.checks.method import check_method
from zslbench.checks.named import Checked, check
from zslbench.checks.protocol import check_protocol

__all__ = ["CheckFailed", "Checked", "check", "check_dataset", "check_method", "check_protocol"]
