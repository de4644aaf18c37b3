"""Watch the trials on a Ray cluster: report their progress, and submit lost ones again."""

import contextlib
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ....transforms.basics.errors import one_line
from ..jobs import Event, Job, Listen

RESUBMISSIONS = 3
"""How many times a trial is submitted again after its worker was lost."""
SECONDS_BETWEEN_LOOKS = 1.0


class Watch:
    """Submits trials, reports their progress, and submits a trial again if its worker was lost."""

    def __init__(self, ray: Any, submit: Callable[[Job], Any], mailbox: Any, listen: Listen) -> None:
        self.ray, self.submit, self.mailbox, self.listen = ray, submit, mailbox, listen
        self.pending: dict[Any, Job] = {}
        self.running: list[str] = []
        self.lost: Counter[str] = Counter()
        self.news = mailbox.take.remote()

    def run(self, jobs: Sequence[Job], check: Callable[[], Any]) -> None:
        """Run until every trial has ended; ``check`` raises an error if no node can run trials any more."""
        try:
            for job in jobs:
                self.pending[self.submit(job)] = job
            while self.pending:
                done, _ = self.ray.wait(list(self.pending), timeout=SECONDS_BETWEEN_LOOKS)
                self._hear()
                for reference in done:
                    self._end(self.pending.pop(reference), reference)
                if not done:
                    check()
        except BaseException as error:
            self._stop("stopped by the user" if isinstance(error, KeyboardInterrupt) else one_line(error))
            raise

    def _hear(self) -> None:
        if not self.ray.wait([self.news], timeout=0)[0]:
            return
        news, self.news = self.ray.get(self.news), self.mailbox.take.remote()
        for trial in (job.trial for job in self.pending.values()):
            if trial in news:
                self._start(trial)
                progress = pickle.loads(news[trial])
                if progress is not None:
                    self.listen(Event(trial, "progress", "", progress))

    def _start(self, trial: str) -> None:
        if trial not in self.running:
            self.running.append(trial)
            self.listen(Event(trial, "started"))

    def _end(self, job: Job, reference: Any) -> None:
        self._start(job.trial)
        try:
            event = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            event = Event(job.trial, "failed", cause(error))
        except self.ray.exceptions.RayError as error:
            self.lost[job.trial] += 1
            if self.lost[job.trial] <= RESUBMISSIONS:
                self._again(job, type(error).__name__)
                return
            times = f"{self.lost[job.trial]} times ({type(error).__name__})"
            event = Event(job.trial, "interrupted", f"its worker was lost {times}; run the study again to resume it")
        self.running.remove(job.trial)
        self.listen(event)

    def _again(self, job: Job, reason: str) -> None:
        from ....pipeline.trial import TrialProgress

        self.pending[self.submit(job)] = job
        self.listen(Event(job.trial, "progress", "", TrialProgress("waiting", 0, 1, f"its worker was lost ({reason})")))

    def _stop(self, reason: str) -> None:
        """Stop the running trials, before another run may write in the folder."""
        references = list(self.pending)
        with contextlib.suppress(self.ray.exceptions.RayError):  # the cluster is lost, and so are its trials
            for reference in references:
                self.ray.cancel(reference, force=True)
            if references:
                self.ray.wait(references, num_returns=len(references), timeout=10)
        for trial in self.running:
            self.listen(Event(trial, "interrupted", reason))


def cause(error: Any) -> str:
    """The error that was raised on the node, on one line."""
    return f"{type(error.cause).__name__}: {one_line(error.cause)}"
