"""How progress of trials on a Ray cluster reaches the driver. Progress is pickled: this process imports nothing."""


class Mailbox:
    """An actor that keeps the latest progress of each trial: it does not grow if the driver is slow."""

    def __init__(self) -> None:
        self._news: dict[str, bytes] = {}

    def tell(self, trial: str, progress: bytes) -> None:
        """Store the pickled progress of a trial, in place of the previous one."""
        self._news[trial] = progress

    def take(self) -> dict[str, bytes]:
        """Return the progress of each trial that told something since the last call."""
        news, self._news = self._news, {}
        return news
