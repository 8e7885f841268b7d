"""``python -m kvasir_bench``: what the launcher runs for ``kvasir bench``."""

import sys

from kvasir_bench.cli import main

sys.exit(main())
