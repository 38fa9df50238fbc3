"""A Debian with a real systemd in a virtual machine, and what is heard from it when things go wrong."""
