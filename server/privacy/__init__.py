"""What takes moments away again, or takes people out of them, and proves it.

    deletion     a moment, a walk or a wearer, now: planned, carried out, gone on with after a crash, proved
    proof        what a deletion removed, and what is left where
    exports      the register of exports that were made here
    retention    moments that have reached their age: announced, then deleted
    faces        two detectors of faces, which check each other
    blurring     the picture and clip of a moment, replaced by blurred ones

Deleting goes through the same wishes as a wearer's own "forget that" (server.dataset.erasing), so it is as durable, and
what comes later is refused.
"""
