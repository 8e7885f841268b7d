"""``python -m kvasir_ops.bench``: what the launcher runs for ``kvasir bench``."""

import sys

from kvasir_ops.bench.cli import main

sys.exit(main())
