"""How news of trials on a Ray cluster reach the driver. Pickled news, and no imports: the process stays small."""


class Mailbox:
    """The latest news of each trial, an actor: trials tell, the driver takes. A slow driver does not make it grow."""

    def __init__(self) -> None:
        self._news: dict[str, bytes] = {}

    def tell(self, trial: str, progress: bytes) -> None:
        """Replace what is known of a trial by its pickled progress."""
        self._news[trial] = progress

    def take(self) -> dict[str, bytes]:
        """What was told since the last time, by trial."""
        news, self._news = self._news, {}
        return news
