"""Who may use the broker: the rules, the files it runs from, and how they are kept."""
