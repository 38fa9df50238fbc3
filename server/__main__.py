"""python -m server: the same as waycue-server."""

import sys

from server.cli import main

sys.exit(main())
