"""Figures: each function takes tables and maps and returns a matplotlib figure; nothing here reads a file."""
