"""`python -m otter_desktop.cli` is `otter`."""

import sys

from otter_desktop.cli import main

sys.exit(main())
