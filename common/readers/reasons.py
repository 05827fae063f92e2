"""What libraries say of a file that they cannot read, in a user's words."""

from __future__ import annotations

import re
import struct

import numpy as np

from ..files import reason
from .refused import Refused

INCOMPLETE = "it is incomplete. Copy it again."
DAMAGED = "its compressed data are damaged. Copy it again."
OTHER = "it is damaged, or not what its suffix says. Export it again."
TOO_LARGE = "it states more data than a file of its size holds. Export it again."
HEADER = "its header is damaged. Export it again."
LONGEST = 200  # letters of a library's message

REASONS = (  # patterns of what libraries say
    (r"allocat\w+ .*(memory|buffer)|bad_alloc|out of memory|MemoryError", TOO_LARGE),
    (r"decompression bomb|exceeds limit of \d+ pixels", TOO_LARGE),
    (r"compressed file ended|unexpected end|EOF|End of file", INCOMPLETE),
    (
        r"Expected \d+ bytes, got \d+|mmap length|buffer is smaller|cannot reshape|Truncated|requires a buffer",
        INCOMPLETE,
    ),
    (r"CRC|zlib|decompressing|incorrect (data|header) check|invalid (block|stored)", DAMAGED),
    (r"itkImageFileReader|itk::ERROR|Could not create IO object|Cannot work out file type|not a gzip", OTHER),
    (r"header magic|bad magic|HeaderDataError|data code .* not|itk\w+\.\w+:\d+", OTHER),
    (r"SVD did not converge|must not contain infs", "its header states an impossible orientation. Export it again."),
    (r"vox offset", "its header states an impossible start of the data. Export it again."),
    (r"missing DICOM File Meta|'DICM' prefix|force=True", "it is no complete DICOM file. Export it again."),
    (r"Transfer ?Syntax", "its header states no transfer syntax that is known. Export it again."),
    (r"Unknown Value Representation|even multiple of bytes|could not convert|cannot convert|invalid literal", HEADER),
)
LACKING = re.compile(r"Missing required element: \(\w+,\w+\) '([^']+)'")
KINDS = (  # errors of programs, whose messages tell a user nothing
    *(TypeError, AttributeError, LookupError, AssertionError, ArithmeticError, RecursionError, NotImplementedError),
    *(UnicodeError, struct.error, np.linalg.LinAlgError, BufferError, StopIteration),
)
INNER = re.compile(  # terms of programs in other messages
    r"\.\w+:\d+|Traceback|0x[0-9a-f]{6,}|<class|object at|None|index|dtype|ndarray|broadcast|argument|\w+Error\b|__|\\x"
)


def in_words(error: BaseException) -> str:
    """Return a reader's error without the source positions and program terms that libraries put into it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = reason(error)
    if isinstance(error, (Refused, FileNotFoundError, PermissionError)):
        return text
    if isinstance(error, MemoryError):
        return TOO_LARGE
    if lacking := LACKING.search(text):
        return f"its header lacks {lacking[1]}. Export it again."
    for pattern, words in REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return words
    if isinstance(error, KINDS) or INNER.search(text):
        return OTHER
    return printable(text)


def cause(error: BaseException) -> str:
    """Return ``in_words`` without what to do, for messages that say it themselves."""
    return re.sub(r" (Export|Copy) it again\.$", "", in_words(error))


def printable(text: str) -> str:
    """Return text of a damaged header in a form that fits into a message: short, without control characters."""
    shown = "".join(each if each.isprintable() and each != "\ufffd" else "?" for each in text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
