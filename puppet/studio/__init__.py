"""The control panel and its API: a local page, HTTP and WebSocket over a live run's commands."""
