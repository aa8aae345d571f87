"""`python -m apps.cli`: the `kithkin` command without an installed script."""

import sys

from apps.cli.main import main

sys.exit(main())
