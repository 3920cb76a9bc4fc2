"""`python -m rl_core` with every sample written at once: a process to be killed between two of them."""

import sys

from rl_core.__main__ import main
from rl_core.evaluation import samples

if __name__ == "__main__":
    samples.FLUSH_SECONDS = 0.0
    sys.exit(main())
