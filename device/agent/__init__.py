"""One run of the device: its parts are made and connected (parts), run for one walk (run), and asked (state).

Promises: nothing but the end of the source, or `stop`, ends a walk. A broker that is away, a disk that is full, a voice
that cannot be heard or a model that fails are announced, and the rest goes on.
"""
