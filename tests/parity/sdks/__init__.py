"""Apps that watch themselves with an SDK, and know nothing of Graft."""
