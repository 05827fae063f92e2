"""Looks at a table of your own cases before a training does."""
