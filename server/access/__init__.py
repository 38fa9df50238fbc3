"""Who may come in, and what they may see: accounts, sessions, invitations, API tokens, lock-out, the log of reads.

    person       Person, Role: who asks, as every route reads it
    visible      may_see: which moments and which files a person may see. The one place where that is decided
    tables       the tables of this room
    hashed       one-time secrets: shown once, kept as a hash
    passwords    argon2, at most two at a time
    accounts     the people, with what is theirs
    invitations  links that let somebody in once, or set a forgotten password anew
    sessions     log-ins of browsers
    tokens       log-ins of programs
    totp         the second factor
    lockout      how long somebody waits who guesses
    login        one attempt to log in, by all of these
    audit        who looked at what, and when
    service      the parts above, put together

Promises:

1. What lets somebody in (a session, an invitation, an API token, a password) is in the database as a hash alone.
2. A name that nobody has and a wrong password take the same time and get the same words.
3. Nobody can be locked out for ever by others: a browser that was logged in before is counted by itself, the wait of a
   name ends after a minute, and a link from an admin goes past it.
4. What a person may not see is answered as if it were not there.
"""
