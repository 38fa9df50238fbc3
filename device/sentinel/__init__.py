"""The sentinel: a small process of its own that says so when the agent no longer guides.

It imports no model, no network and nothing of the agent; a contract in pyproject.toml holds that.
"""
