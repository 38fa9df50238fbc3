"""`python -m device` is waycue-device."""

from device.commands.main import main

raise SystemExit(main())
