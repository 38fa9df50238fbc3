"""The review page for caregivers and the JSON API behind it, served by uvicorn from `server.run`.

    app       create_app: puts the parts together
    guard     before any route: host names, cross-site requests, size; after any: security headers
    api       /api/...    JSON
    page      / (the next moment), /moments/{id} and /models   HTML that works without JavaScript
    deeds     what a person does at a moment beside deciding: skip, difficult, comment, undo
    moments_page, filters   /moments: all of them, with a search
    by_ear, ear_words       /ear: the same, spoken
    installable             manifest, service worker, and what is there without a connection
    media     /media/{frames|audio|clips}/{file}
    review    one decision, with what the person saw; the same for both
    view, choices, drawn, beside   what a page shows of a moment

It answers to whoever can reach it: bind it to a loopback address. Accounts come with a later issue.
"""
