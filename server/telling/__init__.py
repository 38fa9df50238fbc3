"""Who is told what in time: by ntfy, e-mail, Telegram or whatever else apprise speaks, and in their browsers.

    people     telling.toml in the home: who is told what, where, and when not
    step       what to send now, as one pure function of what holds and what was told
    look       what holds: corrections that wait, silent devices, nights, disk, certificates, calls for help
    send       apprise, with nothing of an address in any log
    push       web push to the browsers of accounts: who hears what (browsers), one message (webpush), our key (vapid)
    loop       the round that ties them together, on a thread of its own

Rules that they keep:

1. Nothing is told twice within a person's cool-down, nothing but a call for help in their quiet hours, and that as they
   chose. What holds and was not told for that is told when they end.
2. A message says what to look at and how many, never a word, picture or place of a wearer: it passes through others'
   servers.
3. An address is a secret (it holds passwords and tokens): it is in a file that its owner alone may read, and in no log.
"""
