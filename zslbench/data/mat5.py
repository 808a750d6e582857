"""Check the elements of a MATLAB level 5 file before SciPy parses them.

SciPy's parser is compiled code that trusts what an element declares: an unknown type or a wrong length can end the
process, and a sparse matrix of a few bytes can declare more memory than there is. Checked is what it relies on: the
types, lengths and dimensions of each wanted variable.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Collection
from typing import IO

MATRIX, COMPRESSED = 14, 15
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number by element type: miINT8, miUINT8 … miUINT64."""
_TEXTS = (1, 2, 3, 4, 16, 17, 18)
_CELL, _CHAR, _SPARSE, _NUMBERS = 1, 4, 5, range(6, 16)
_HEAD = 1 << 12
"""Bytes that hold everything before the numbers of a matrix."""
_CELLS = 1 << 26
"""Bytes of a cell array, the class names for instance, that are walked through: 64 MiB."""
_COMPLEX = 0x08
_CELL_BYTES = 200
"""Bytes of memory that SciPy takes for a cell, beside its text."""


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a variable declares of itself: its name, its dimensions, and the bytes of memory that reading it takes."""

    name: str
    shape: tuple[int, ...]
    size: int


class Damaged(Exception):
    """An element that is not what it declares."""


def check_element(
    file: IO[bytes], order: str, kind: int, length: int, wanted: Collection[str] | None
) -> Declared | None:
    """Check one top-level element, the file standing behind its tag; return what it declares, None if not wanted.

    Args:
        file: open in binary mode.
        order: ``<`` or ``>``.
        kind, length: of the tag.
        wanted: names of the variables to check; None for all.

    Raises:
        Damaged: it is not what it declares.
    """
    start, stored = file.tell(), length
    body, length = _opened(file, order, kind, length, _HEAD)
    walk = _Walk(body, order, length)
    matrix_class, flags, shape, name = walk.header()
    if wanted is not None and name not in wanted:
        return None
    if matrix_class in (_CELL, _CHAR, _SPARSE):
        if length > _CELLS:
            raise Damaged(f"{name or 'a variable'} has {length:,} bytes where {_CELLS:,} are allowed")
        file.seek(start)
        body, length = _opened(file, order, kind, stored, _CELLS)
    _Walk(body, order, length).matrix(0)
    # Sparse matrices are made dense; a text takes four bytes a character.
    unit = {_CELL: _CELL_BYTES, _CHAR: 4}.get(matrix_class, 16 if flags & _COMPLEX else 8)
    return Declared(name, shape, math.prod(shape) * unit + (length if matrix_class in (_CELL, _CHAR) else 0))


def _opened(file: IO[bytes], order: str, kind: int, length: int, at_most: int) -> tuple[bytes, int]:
    """Return the first bytes of a matrix element's content, unpacked, and its full length."""
    if kind == MATRIX:
        return file.read(min(length, at_most)), length
    packed = zlib.decompressobj()
    try:
        body = b""
        left = length
        while left > 0 and len(body) < at_most + 8 and not packed.eof:
            raw = file.read(min(left, 1 << 16))
            if not raw:
                break
            left -= len(raw)
            body += packed.decompress(raw, at_most + 8 - len(body))
    except zlib.error as error:
        raise Damaged(str(error)) from error
    if len(body) < 8:
        raise Damaged("a compressed variable is empty")
    inner, size = struct.unpack(f"{order}II", body[:8])
    if inner != MATRIX:
        raise Damaged(f"a compressed variable holds an element of type {inner}")
    return body[8:], size


class _Walk:
    """Walks through the elements of a matrix, of whose `length` bytes the first are at hand."""

    def __init__(self, body: bytes, order: str, length: int) -> None:
        self.body, self.order, self.length, self.at = body, order, length, 0

    def tag(self) -> tuple[int, int, int]:
        """Return type and length of the next element, and where its content starts; move behind it."""
        head = self.body[self.at : self.at + 8]
        if len(head) < 8:
            raise Damaged("a variable ends early")
        kind, size = struct.unpack(f"{self.order}II", head)
        if kind >> 16:  # the small form: length and type share four bytes, the content is in the next four
            size, kind, start = kind >> 16, kind & 0xFFFF, self.at + 4
            if size > 4:
                raise Damaged(f"a small element declares {size} bytes")
            self.at += 8
        else:
            start = self.at + 8
            self.at = start + size + -size % 8
        if start + size > self.length:
            raise Damaged(f"an element of {size:,} bytes does not fit into its variable")
        return kind, size, start

    def header(self) -> tuple[int, int, tuple[int, ...], str]:
        """Return class, flags, dimensions and name."""
        kind, size, start = self.tag()
        if kind != 6 or size != 8:
            raise Damaged("a variable does not begin with its flags")
        flags = struct.unpack(f"{self.order}I", self.body[start : start + 4])[0]
        kind, size, start = self.tag()
        if kind != 5 or size % 4 or not 8 <= size <= 128:
            raise Damaged("a variable has no dimensions")
        dims = struct.unpack(f"{self.order}{size // 4}i", self._content(start, size))
        if min(dims) < 0:
            raise Damaged(f"a variable has dimensions {dims}")
        kind, size, start = self.tag()
        if kind not in (1, 2) or size > 1024:
            raise Damaged("a variable has no name")
        return flags & 0xFF, flags >> 8 & 0xFF, dims, self._content(start, size).decode("latin-1")

    def matrix(self, depth: int) -> None:
        """Check the matrix whose content starts here."""
        matrix_class, flags, dims, name = self.header()
        count = math.prod(dims)
        if matrix_class in _NUMBERS:
            for _ in range(2 if flags & _COMPLEX else 1):
                self._numbers(count)
        elif matrix_class == _CHAR:
            kind, _, _ = self.tag()
            if kind not in _TEXTS:
                raise Damaged(f"a text is of type {kind}")
        elif matrix_class == _CELL and depth < 3:
            self._cells(count, depth)
        elif matrix_class == _SPARSE:
            for _ in range(2):
                kind, size, _ = self.tag()
                if kind not in (5, 6) or size % 4:
                    raise Damaged(f"indices of a sparse matrix are of type {kind}")
            self._numbers(None)
        else:
            raise Damaged(f"{name or 'a variable'} is of class {matrix_class}, which holds no numbers or texts")

    def _cells(self, count: int, depth: int) -> None:
        if count > self.length:
            raise Damaged(f"a cell array declares {count:,} cells in {self.length:,} bytes")
        for _ in range(count):
            kind, size, start = self.tag()
            if kind != MATRIX:
                raise Damaged(f"a cell is of type {kind}")
            if size:  # an empty cell has no content at all
                _Walk(self.body[start : start + size], self.order, size).matrix(depth + 1)

    def _numbers(self, count: int | None) -> None:
        kind, size, _ = self.tag()
        if kind not in _SIZES or size % _SIZES[kind]:
            raise Damaged(f"numbers are of type {kind} in {size:,} bytes")
        if count is not None and size != count * _SIZES[kind]:
            raise Damaged(f"{count:,} numbers are declared and {size // _SIZES[kind]:,} are there")

    def _content(self, start: int, size: int) -> bytes:
        content = self.body[start : start + size]
        if len(content) < size:
            raise Damaged("a variable ends early")
        return content
