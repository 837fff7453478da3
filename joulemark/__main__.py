"""python -m joulemark."""

import sys

from joulemark.cli import main

sys.exit(main())
