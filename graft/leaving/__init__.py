"""The way out: the app that is left when every route is native, written as a folder that knows nothing of Graft."""
