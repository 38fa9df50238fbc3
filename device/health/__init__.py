"""How the device is doing: status file, spoken announcements, watchdog, the report after a walk."""
