"""auto/local's entry."""

import sys

from . import commands

sys.exit(commands.main(sys.argv[1:]))
