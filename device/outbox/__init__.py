"""What waits to reach the server, durably: records and their payload files.

Promise: a record is deleted only when the server said that it has it, or when the outbox is full and the record matters
least; each eviction is counted.
"""
