"""The native routes of the site."""
