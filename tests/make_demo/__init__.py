"""Draws the portrait and the driver clip that ship with the project (see puppet/data/README.md)."""
