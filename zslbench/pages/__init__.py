"""Pages of the documentation that say what is declared in code: methods, data, presets, options, records.

``python -m zslbench.pages docs/methods`` writes the pages of the methods, which are kept in the repository; the others
are made whenever the site is built.
"""

from __future__ import annotations

from zslbench.pages.methods import builtin_methods, method_page, pages, write

__all__ = ["builtin_methods", "method_page", "pages", "write"]
