"""One reader of films, for a device's replay, for labelling and for evaluation: the same file is the same walk to all.

    opening.py   what may be opened, and which of its streams are the film
    joins.py     stamps that begin again or jump: one time line through all of it (pure)
    packets.py   the packets of a stream on that time line
    picture.py   a decoded frame as a person would see it: upright, square pixels, ordinary colours
    hdr.py       HLG and PQ, wide primaries → the range and colours of an ordinary film (pure)
    order.py     pictures whose stamps are a little out of order (pure)
    mono.py      sound of any channels → 16 kHz mono
    mixing.py    left and right as one channel, also where they cancel each other out (pure); for microphones, too

The only room of `shared` that knows PyAV.
"""
