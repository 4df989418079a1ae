"""`python -m effnet_helpers` is the command `effnet`."""

from effnet_helpers.course.cli import app

if __name__ == "__main__":
    app(prog_name="effnet")
