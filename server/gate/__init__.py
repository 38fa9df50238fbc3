"""The model gate: may a candidate replace the champion, guide on trial, or neither?

`decide` is pure: evidence in, judged rules out. The other modules gather the evidence: held-out moments (`cases`),
scores, costs, walks. Numbers a person may change are in server.learn.settings.
"""
