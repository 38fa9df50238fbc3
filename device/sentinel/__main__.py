"""python -m device.sentinel"""

import sys

from device.sentinel.main import main

sys.exit(main())
