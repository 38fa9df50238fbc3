"""python -m server: the same as waycue-server."""

import sys

from server.commands.main import main

sys.exit(main())
