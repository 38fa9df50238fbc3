"""Devices as Home Assistant shows them, by its MQTT discovery: battery, backlog, model, update.

    entities    what is published about each device; pure
    link        the connection to Home Assistant's own broker, and the round that keeps it up to date

It is another broker than the devices': theirs lets nobody in but them and this server. What is published names devices,
versions and figures, and nothing of a wearer.
"""
