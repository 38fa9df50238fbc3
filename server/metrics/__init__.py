"""Figures for Prometheus: what is counted while the server runs, and what its database says when it is asked.

names      every metric with its meaning: one table, which docs/grafana.json is held against
collected  the figures of the home, read at each scrape
requests   counts the requests to the page by route and status
"""
