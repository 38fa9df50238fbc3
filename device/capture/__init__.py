"""From a camera, a microphone or a file to encoded 2 s chunks.

`source` holds the contract that every source keeps; `open` chooses one by its name. A live source captures in a process
of its own (`worker`), so that a driver that hangs never stops guidance. `recorder` cuts and encodes the chunks.
"""
