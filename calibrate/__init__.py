"""Base training over many people and tuning to one portrait."""
