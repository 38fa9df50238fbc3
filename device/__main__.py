"""`python -m device` is waycue-device."""

from device.cli import main

raise SystemExit(main())
