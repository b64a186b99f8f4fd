"""``python -m graft`` is the ``graft`` command."""

from graft.cli import main

if __name__ == "__main__":
    main(prog_name="graft")
