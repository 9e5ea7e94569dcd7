"""A landmark image in, a portrait picture out. Knows arrays and tensors, nothing of cameras."""
