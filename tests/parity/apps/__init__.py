"""Apps as their teams would write them. They know nothing of Graft."""
