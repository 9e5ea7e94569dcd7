"""Avatars: a picture with all that is needed to animate it, and the consent to do so."""
