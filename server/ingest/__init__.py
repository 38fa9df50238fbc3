"""What devices send: decoded, limited, collected until whole, handed to the dataset, acknowledged.

Promise: nothing is acknowledged before it is durable; every message may come twice.
"""
