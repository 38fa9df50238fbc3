"""Recorded videos that people label by hand, in the layout of the dataset."""
