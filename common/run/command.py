"""What all commands ``python -m common.<name>`` share: their parser, their errors, their exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fire.parser import DefaultParseValue

from ..settings import check_names
from .errors import after_stop, report_error


class Parser(argparse.ArgumentParser):
    """Python's parser whose mistakes are one message with exit code 1; options are never abbreviated.

    Args:
        options: of ``argparse.ArgumentParser``.

    Example:
        >>> parser = Parser(prog="python -m common.view")
        >>> parser.add_argument("--image")
        >>> parser.parse_args(["--imgae", "scan.nii.gz"])
        Traceback (most recent call last):
        ValueError: There is no option '--imgae'. Did you mean --image? Options: --help, --image.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raise a mistake of the command line.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{message[:1].upper()}{message[1:]}. --help lists the options of {self.prog}.")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse a command line.

        Raises:
            ValueError: for a mistake; an unknown option with the nearest one.
        """
        known, rest = self.parse_known_args(args, namespace)
        names = [word.partition("=")[0] for word in rest if word.startswith("--")]
        check_names("option", names, [name for name in self._option_string_actions if name.startswith("--")])
        if rest:
            self.error(f"there is one value too many: {' '.join(rest)}")
        return known


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """Options of a bundle's config, with their values as MONAI's command line reads them.

    Args:
        words: of the command line that are no options of the command itself.

    Raises:
        ValueError: for an option without a value, or a value without an option.

    Example:
        >>> options_of(["--size", "[64,64]", "--amp=True"])
        {'size': [64, 64], 'amp': True}
    """
    options: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not given and not rest):
            raise ValueError(f"{word} has no value, or no option before it. --help lists the options.")
        options[name] = DefaultParseValue(value if given else rest.pop(0))
    return options


def run_command(main: Callable[[Sequence[str]], int], stopped: str = "") -> NoReturn:
    """Run a command with the arguments of this process, and exit with its code.

    Args:
        main: takes the arguments without the program's name; returns the exit code.
        stopped: what to do after Ctrl-C.
    """
    sys.excepthook = report_error
    after_stop(stopped)
    sys.exit(main(sys.argv[1:]))
