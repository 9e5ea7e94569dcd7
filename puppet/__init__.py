"""Live puppeteering of a portrait: capture, track, retarget, draw, generate, compose, output."""

__version__ = "0.1.0"
