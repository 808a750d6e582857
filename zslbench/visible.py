"""Text as it is shown: runs, metrics, durations; escapes for what would steer a terminal; streams that never fail."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

_KEPT = frozenset("\xa0\u200c\u200d\u202f\u3000")
"""Not printable by Python's rule, but part of names in some scripts: spaces, joiners and non-joiners."""
_DATA_TITLES = {"apy": "aPY", "awa1": "AWA1", "awa2": "AWA2", "cub": "CUB", "flo": "FLO", "sun": "SUN"}
"""Names of the catalogue as papers spell them; in commands, records and data formats they stay as typed."""
_BREAKS = {"\n": r"\n", "\t": r"\t"}

SIGNS = {
    "‡": "#", "†": "+", "°": "o", "§": "~", "±": "+-", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "−": "-", "–": "-",
    "—": "-", "─": "-", "━": "=", "│": "|", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "·": ".",
    "α": "alpha", "β": "beta", "γ": "gamma", "λ": "lambda", "μ": "mu", "σ": "sigma",
}  # fmt: skip
"""What stands for our own signs where an encoding lacks them; the marks of a table are one letter wide, and differ."""


def visible(text: str) -> str:
    r"""Return `text` with what is not printable as JSON writes it; line feeds and tabs stay.

    That is: control characters, signs that turn the direction of text or show nothing, halves of characters. JSON
    stays JSON of the same content.

    >>> visible("a\x1b[2Jb\u202ec")
    'a\\u001b[2Jb\\u202ec'
    """
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def one_line(text: str) -> str:
    r"""Return `text` as `visible` does, line feeds and tabs escaped, too.

    >>> one_line("a\nb\tc")
    'a\\nb\\tc'
    """
    if text.isprintable():
        return text
    signs = []
    for sign in text:
        if not sign.isprintable() and sign not in _KEPT:
            units = sign.encode("utf-16-be", "surrogatepass").hex()
            sign = _BREAKS.get(sign) or "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
        signs.append(sign)
    return "".join(signs)


def shorten(text: str, most: int) -> str:
    """Return a text cut to so many characters, and an ellipsis where there were more.

    >>> shorten("abcd", 4), shorten("abcde", 4)
    ('abcd', 'abcd…')
    """
    return text if len(text) <= most else f"{text[:most]}…"


def csv_cell(value: object) -> object:
    """Return what stands for a value in a cell of CSV: a text without control characters that is no formula.

    >>> csv_cell("=1+1"), csv_cell("eszsl"), csv_cell(-0.5)
    ("'=1+1", 'eszsl', -0.5)
    """
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value)


def encode_signs(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded, as an error handler of `codecs`: by our `SIGNS`, half characters by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign) or ("?" if sign.isprintable() else one_line(sign)) for sign in lacking), error.end


def title_data(name: str) -> str:
    """Return a data set's name as papers spell it; other names than those of the catalogue stay as they are.

    >>> title_data("cub"), title_data("apy (res101, att)"), title_data("digits")
    ('CUB', 'aPY (res101, att)', 'digits')
    """
    head, space, stems = name.partition(" ")
    return _DATA_TITLES.get(head, head) + space + stems


def name_data(name: str, features: object, semantics: object) -> str:
    """Return a data set with its features and semantics, as `title_data` takes it.

    >>> name_data("cub", "res101", "att")
    'cub (res101, att)'
    """
    return f"{name} ({features}, {semantics})"


def names_of_several(choices: Iterable[tuple[str, str, str]]) -> set[str]:
    """Return the data sets that have several features or semantics among (name, features, semantics).

    >>> names_of_several([("cub", "res101", "att"), ("cub", "res101", "sent"), ("sun", "res101", "att")])
    {'cub'}
    """
    return {name for name, count in Counter(name for name, *_ in {*choices}).items() if count > 1}


def name_run(label: str, dataset: str, protocols: Iterable[str], stage: str, fold: int, seed: int) -> str:
    """Return what is run, on one line; `protocols` may be left out.

    >>> name_run("eszsl", "cub", ["zsl", "gzsl"], "dev", 2, 0), name_run("sae", "cub", [], "final", 0, 1)
    ('eszsl CUB zsl+gzsl dev2 seed 0', 'sae CUB seed 1')
    """
    of_dev = "" if stage == "final" else f"{stage}{fold}"
    return " ".join(filter(None, [label, title_data(dataset), "+".join(protocols), of_dev, f"seed {seed}"]))


def format_metrics(values: Mapping[str, float]) -> str:
    """Return metrics in percent.

    >>> format_metrics({"U": 0.5, "S": 0.25})
    'U 50.0  S 25.0'
    """
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in values.items())


def format_losses(values: Mapping[str, float | None]) -> str:
    """Return losses with four digits; None is one that is not finite.

    >>> format_losses({"critic": -0.123456, "generator": 12345.6})
    'critic -0.1235  generator 1.235e+04'
    """
    return "  ".join(f"{name} {'nan' if value is None else f'{value:.4g}'}" for name, value in values.items())


def format_time(seconds: float, decimals: int = 0) -> str:
    """Return a duration in its largest units; below 90 s, with so many decimals of a second.

    >>> format_time(0.2), format_time(45.3, 1), format_time(2000), format_time(40_000), format_time(900_000)
    ('0 s', '45.3 s', '33 min', '11 h 7 min', '10 days 10 h')
    """
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.{decimals}f} s"
    if minutes < 90:
        return f"{minutes} min"
    whole, rest = divmod(minutes, 60) if hours < 48 else divmod(hours, 24)
    unit, smaller = ("h", "min") if hours < 48 else ("days", "h")
    return f"{whole} {unit}" + (f" {rest} {smaller}" if rest else "")


def format_progress(seconds: float, left: float | None) -> str:
    """Return how long something has taken and, if known, how long it still needs.

    >>> format_progress(4, 200)
    '4 s so far, about 3 min left'
    """
    return f"{format_time(seconds)} so far" + (f", about {format_time(left)} left" if left else "")


def times_column() -> ProgressColumn:
    """Return the column of a bar of rich that shows both times as `format_progress` writes them."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Times(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(format_progress(task.elapsed or 0.0, task.time_remaining))

    return Times()


_PLURALS = {"is": "are", "was": "were", "has": "have", "does": "do"}


def format_count(number: int, what: str, verb: str = "") -> str:
    """Return a number and what it counts, and after it a verb whose last word is put into the plural, too.

    >>> format_count(1, "fit"), format_count(12000, "fit"), format_count(2, "class")
    ('1 fit', '12,000 fits', '2 classes')
    >>> format_count(1, "run", "is"), format_count(3, "failed run", "of it was")
    ('1 run is', '3 failed runs of it were')
    """
    counted = f"{number:,} {what}" + ("" if number == 1 else "es" if what.endswith("ss") else "s")
    *before, last = verb.split() or [""]
    return " ".join(filter(None, [counted, *before, last if number == 1 else _PLURALS.get(last, last)]))


def list_names(names: Iterable[str], most: int) -> str:
    """Return so many names, and how many more there are.

    >>> list_names(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Return words as a sentence lists them.

    >>> join_words(["a"]), join_words(["a", "b"]), join_words(["a", "b", "c"], "or")
    ('a', 'a and b', 'a, b or c')
    """
    *before, end = words
    return f"{', '.join(before)} {last} {end}" if before else end


def last_line(error: str) -> str:
    """Return the last line of a traceback, which says what went wrong; empty when there is none."""
    return (error.strip().splitlines() or [""])[-1]


_HEADER = re.compile(r"^(?:Exception Group )?Traceback \(most recent call last\):\n", re.MULTILINE)
_OF_GROUP = re.compile(r"^  [|+] ", re.MULTILINE)
"""What stands before the lines of an exception group's own traceback."""
_FRAME = re.compile(r'\s*File "(.+)", line (\d+), in (.+)')
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib(64)?[/\\]python3\.\d+|Python3\d+[/\\]Lib)[/\\]")
_PACKAGE = re.compile(r"[/\\]zslbench[/\\](checks|commands|data|methods|protocols|results|runner|studies)[/\\]")
_METHODS = re.compile(r"[/\\]zslbench[/\\]methods[/\\]")
_MOST_OF_MESSAGE = 400
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120  (pathlib is not imported here)


def describe_failure(error: str) -> str:
    """Return, of a traceback, the line that says what went wrong, and where: the last call in the user's own code.

    Where no code of the user's was called, the last call in a method of this package stands there. A text that is no
    traceback gives its last line. The traceback may be of another machine.

    >>> frames = '  File "/me/mine.py", line 3, in fit\\n    x @ y\\n  File "/venv/site-packages/a.py", line 9, in f'
    >>> describe_failure(f"Traceback (most recent call last):\\n{frames}\\nValueError: shapes (3,4) (5,)")
    'ValueError: shapes (3,4) (5,) (mine.py:3, in fit)'
    """
    _, *tracebacks = _HEADER.split(_OF_GROUP.sub("", error))
    lines = tracebacks[-1].splitlines() if tracebacks else []  # the error that ended the run, not its cause
    start = next((at for at, line in enumerate(lines) if line.strip() and not line[0].isspace()), None)
    if start is None:
        return shorten(last_line(error), _MOST_OF_MESSAGE)
    return _join_message(lines[start:]) + _describe_place(lines[:start])


def describe_exception(error: BaseException) -> str:
    """Return kind and text of an exception that was caught, and where it was raised, as `describe_failure` does."""
    import traceback  # only where something failed

    frames = "".join(traceback.format_tb(error.__traceback__)).splitlines()
    if isinstance(error, SyntaxError):  # whose text names file and line; no call was made there
        return f"{type(error).__name__}: {error}"
    return _join_message("".join(traceback.format_exception_only(error)).splitlines()) + _describe_place(frames)


def _join_message(lines: Sequence[str]) -> str:
    """Return the first line of a message, with the next one where it announces that, cut where it is long."""
    first, *others = [line.strip() for line in lines if line.strip()] or [""]
    whole = f"{first} {others[0]}" if first.endswith(":") and others else first
    return shorten(whole, _MOST_OF_MESSAGE)


def _describe_place(lines: Sequence[str]) -> str:
    """Return the last call of the user's own code, else of a method, in the frames of a traceback; or nothing."""
    frames = [match.groups() for line in lines if (match := _FRAME.fullmatch(line))]
    of_user = [frame for frame in frames if _is_of_user(frame[0])]
    calls = of_user or [frame for frame in frames if _METHODS.search(frame[0])]
    if not calls:
        return ""
    path, line, function = calls[-1]
    file = re.split(r"[/\\]", path)[-1]
    return f" ({file}:{line}, in {function})"


def _is_of_user(path: str) -> bool:
    if path.startswith("<"):  # frozen modules, texts that a library executes; but for a notebook and a shell
        return path.startswith(("<ipython-input", "<stdin>"))
    return not (path.startswith(_HERE) or _LIBRARY.search(path) or _PACKAGE.search(path))


class PatientStream(io.TextIOWrapper):
    """A standard stream that never fails: what cannot be written is lost, and what the process does goes on.

    A study must not end, nor a method that prints fail, because a disk is full or the reader has gone, as ``| head``.

    Attributes:
        problem: why something was lost; None where nothing was, or the reader has gone.
    """

    problem: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write a text as far as that is possible; return its length."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what is in the buffer as far as that is possible."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.problem = error
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123  (what is left in the buffer would fail again)
            os.dup2(nothing.fileno(), self.fileno())


def open_standard_streams() -> None:
    """Open the standard streams that are closed (as by ``2>&-``) onto nothing.

    Else the next file or pipe to be opened takes the number of one, and what is printed goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def set_up_streams() -> None:
    """Let the standard streams exist, never fail, and write other signs for those that their encoding lacks."""
    codecs.register_error("signs", encode_signs)
    open_standard_streams()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        if number and type(stream) is io.TextIOWrapper and stream.fileno() == number:
            raw = open(number, "wb", closefd=False)  # noqa: SIM115
            setattr(sys, name, PatientStream(raw, stream.encoding, "signs", line_buffering=stream.line_buffering))
        elif isinstance(stream, io.TextIOWrapper) and number:
            stream.reconfigure(errors="signs")
