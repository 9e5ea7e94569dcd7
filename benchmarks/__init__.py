"""Latency, quality, soak. Imports anything; nothing imports it; not installed."""
