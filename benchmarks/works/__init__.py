"""One module per work. Each has ``NAME`` (short, for --only), and ``run(settings) -> list[Result]``."""
