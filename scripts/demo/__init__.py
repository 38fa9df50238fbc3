"""`make demo`: one walk, one night, a second walk that goes better. Every part is the real part, small."""
