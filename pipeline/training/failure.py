"""What a trial raises if it cannot give a result."""


class TrialFailed(RuntimeError):  # noqa: N818 (the name says what happened)
    """A trial cannot give a result; the message says why. Other trials are not affected."""
