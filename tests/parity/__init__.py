"""Third-party Flask extensions, and apps of other frameworks, served as they are with and without the gateway."""
