"""The loop: from a source to the sinks, live or frame by frame, with everything measured."""
