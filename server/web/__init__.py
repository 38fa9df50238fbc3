"""The review page for caregivers and the JSON API behind it, served by uvicorn from `server.run`.

    app       create_app: puts the parts together
    guard     before any route: host names, cross-site requests, size; after any: security headers
    api       /api/...    JSON
    page      /, /moments/{id} and /models   HTML that works without JavaScript
    admin…    /admin/…    for who runs the server; /metrics
    media     /media/{frames|audio|clips}/{file}
    review    one decision, with what the person saw; the same for both
    view      what a page shows of a moment; pure

It answers to whoever can reach it: bind it to a loopback address. Accounts come with a later issue.
"""
