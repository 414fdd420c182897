"""What is run from a checkout, each by its own command, and is no part of the wheel."""
