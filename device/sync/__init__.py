"""The MQTT connection to the server, and what is sent over it: records, payload files, status.

Promise: a record leaves the outbox only on an acknowledgement that the server sent after its own durable write.
"""
