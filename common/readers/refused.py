"""The error of a file that breaks a rule."""


class Refused(ValueError):
    """A file that breaks a rule: rule, value, remedy. The caller, who knows the path, puts it in front."""
