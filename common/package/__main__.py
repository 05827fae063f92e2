"""The command ``python -m common.package``."""

import sys

from ..run.errors import report_error
from .command import main

sys.excepthook = report_error
main(sys.argv[1:])
