"""The one exception a user's mistake ends in: a sentence, not a traceback."""


class InputError(ValueError):
    """Bad input: the message says which file or field, what was found, what was expected and what to do."""


def one_line(error: BaseException, longest: int = 300) -> str:
    """The message of an exception on one line, or its kind where it has none."""
    return " ".join(str(error).split())[:longest] or type(error).__name__
