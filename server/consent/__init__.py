"""What wearers agreed to, read by everything that keeps, shows, teaches, exports or deletes their moments.

    terms      the consent of one wearer, and what an answer means; pure
    register   the append-only log of answers in the database: who said it, and when
    visible    which moments a person may see: one clause for lists, searches and statistics, one test for a moment
    tables     the tables of this room and of server.privacy

A withdrawal counts from the next query and the next night on, because nobody keeps a copy of what was read here.
"""
