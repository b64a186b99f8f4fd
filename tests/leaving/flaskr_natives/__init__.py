"""All of Flaskr, natively, with its own functions and templates by way of ``request.state.legacy``."""
