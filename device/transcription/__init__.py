"""The wearer's corrections put into words on the device itself: corrections.transcribe = "device".

    child      the process that listens to one sound and ends: lowest priority, bounded memory and processor time
    listening  starts it, waits for it, stops it
    queue      one correction after the other, on a thread of its own

The agent never loads a recogniser. Whatever becomes of the process, the correction itself is kept already.
"""
