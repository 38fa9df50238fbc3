"""Makes a machine a device, and undoes it: account, folders, units, udev rules, limits; newer versions; support.

`plan` says what a machine must have and is pure; `machine` reads what it is; `carry_out` changes it.
"""
