"""What the review page says aloud: text → WAV by espeak-ng, kept in memory for the person it was made for.

    speech    SpokenTexts: texts that may be heard, by a token that only their person can use; bounded and rationed

Nothing is written to a disk: what is said names people and places, and would outlive a deletion there.
"""
