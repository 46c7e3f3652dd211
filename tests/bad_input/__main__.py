"""Writes the page: ``python -m bad_input > docs/bad-input.md``."""

from bad_input.page import page

print(page(), end="")
