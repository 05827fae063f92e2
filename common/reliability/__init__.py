"""How large the errors of a mask are likely to be, from the probabilities behind it."""
