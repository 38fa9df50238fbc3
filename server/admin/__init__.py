"""What the pages for admins show and do, apart from the pages.

    versions    the registered models: date, verdict, score, role and why they have it
    better      is it getting better: accuracy by week and model, nights, corrections learnt and forgotten
    nights      the record of nights, live; starting one and ending one
    fleet       the devices: what each reported, what it waits for
    waiting     how many spoken corrections wait
    storage     what is used, and until when it is enough
    health      what an admin should know now, in sentences
    settings_file    the settings as a form: read, checked and written with their comments
    charts      charts as SVG, each with its table

Figures are pure functions over rows, or over the sums that the database keeps; the database and processes are touched
by `nights` and `gathered` alone.
"""
