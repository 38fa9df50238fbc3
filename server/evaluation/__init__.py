"""How good is a bundle, as the wearer would have heard it?

    rendered   what it is judged on: rendered walks with exact truth …
    annotated  … or a video with references, labelled pictures, a dataset
    drive      the bundle and the speech policy, over a course, as on a device → Drive
    slots      sentences against references: grammar, slot F1, what a wrong action costs
    speech     utterances against events: recall, false alarms, repeats, speak or keep silent
    measures   shares with intervals, rates, calibration, percentiles
    summary    drives → one JSON object
    worst, plots, page   the same for people

All but the courses, `drive` and `page` is pure. Looks go through shared.runtime and shared.policy: what is measured is
what a device runs, not a model of it.
"""
