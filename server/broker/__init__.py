"""The connection to Mosquitto: its files, its access rules, and the handlers of its messages."""
