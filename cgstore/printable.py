"""Printable text: what came from files of others, so that it cannot steer a terminal or pretend to be another line."""

import re

__all__ = ["one_line", "printable"]

# Control characters but tab and line feed; marks that turn the direction of what follows; separators of lines; halves
# of characters, which no terminal can be sent.
_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_ANY, _LINES_TOO = re.compile(f"[{_STEERING}]"), re.compile(f"[{_STEERING}\t\n]")


def printable(text: str) -> str:
    r"""Return a text with everything that steers a terminal as an escape of JSON; tabs and line feeds stay.

    >>> print(printable("\x1b[2Jgone\a"))
    \u001b[2Jgone\u0007
    """
    return _ANY.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return a text as `printable` does, on one line.

    >>> print(one_line("DMPC\n2 datasets: sound"))
    DMPC\u000a2 datasets: sound
    """
    return _LINES_TOO.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    """Return the escape of a character."""
    return f"\\u{ord(found[0]):04x}"
