"""The review page for caregivers and the JSON API behind it, served by uvicorn from `server.run`.

    app       create_app: puts the parts together
    connections  the socket: how many connections, how long a head may take, how often trouble is logged
    guard     before any route: host names, cross-site requests, size; after any: security headers
    entry     behind the guard: who asks, and whether they may (permits: one table of routes and roles)
    signing_in, account_page, people_page     log-in, invitation, one's own account, everybody's
    api       /api/...    JSON
    page      / (the next moment), /moments/{id} and /models   HTML that works without JavaScript
    deeds     what a person does at a moment beside deciding: skip, difficult, comment, undo
    moments_page, filters   /moments: all of them, with a search
    by_ear, ear_words       /ear: the same, spoken
    installable             manifest, service worker, and what is there without a connection
    admin…    /admin/…    for who runs the server; /metrics
    media     /media/{frames|audio|clips}/{file}
    review    one decision, with what the person saw; the same for both
    view, choices, drawn, beside   what a page shows of a moment

Without accounts it answers to this machine alone; with one, to whoever logs in (server.access).
"""
