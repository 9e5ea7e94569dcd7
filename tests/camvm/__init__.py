"""Checks that run inside a machine with real V4L2 cameras, and that machine (vm_run.sh)."""
