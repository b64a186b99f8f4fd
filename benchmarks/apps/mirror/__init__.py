"""Twins on both sides, of which the mirrored one is at its worst."""
