"""Trials on a Ray cluster, the side of the driver. The functions that run on the nodes are in `worker`."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....pipeline import READERS, TrialSettings
from ....transforms.basics.errors import InputError
from ..executors import computing, with_threads
from ..jobs import Job, Listen, Task
from .cluster import answering, import_ray, joined
from .mailbox import Mailbox
from .watch import Watch, cause
from .worker import as_arrays, look, work


class RayExecutor:
    """Run trials on a Ray cluster, as many in parallel as its CPUs and GPUs allow.

    If the worker of a trial is lost (killed, out of memory, node lost), the trial is submitted again, at most three
    times, and continues after its last epoch. A trial that fails is only reported, as on one machine.

    Args:
        address: HOST:PORT of the head of the cluster, or auto for the cluster of this machine; None starts a temporary
            one that only this machine can reach.
        cpus: number of CPUs per trial; also its number of threads, unless its settings have one.
        gpus: number of GPUs per trial; with a fraction, several trials share one GPU. If ``compute.device`` is auto, a
            trial computes on its GPU, or on the CPU if it has none.

    Raises:
        InputError: Ray is not installed, a number is out of range, or no cluster answers at the address.
    """

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        if cpus < 1:
            raise InputError(f"--cpus-per-trial {cpus}: expected at least 1.")
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise InputError(f"--gpus-per-trial {gpus:g}: expected a whole number, or a fraction to share one GPU.")
        self.cpus, self.gpus = cpus, gpus
        self.address = None if address is None else answering(address)
        self._ray = import_ray(address)

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None:
        """Run every job. All nodes must see the folder of the run under the same path.

        Data that some node cannot read itself are sent through Ray's object store, once per data configuration.

        Raises:
            InputError: the cluster cannot be joined or is lost, no node has enough CPUs and GPUs for a trial, or a node
                does not see the folder of the run.
            KeyboardInterrupt: stopped; running trials were reported as interrupted.
        """
        jobs = [replace(job, settings=self._placed(job.settings)) for job in jobs]
        if not jobs:
            return
        with joined(self._ray, self.address, self.cpus), _flag(jobs[0].folder.absolute().parent) as flag:
            nodes = self._nodes()
            here = self._ray.get_runtime_context().get_node_id()
            mailbox = self._at(here, Mailbox, max_restarts=-1, max_task_retries=-1).remote()
            data = self._data(jobs, nodes, flag)
            remote = self._ray.remote(work).options(
                num_cpus=self.cpus,
                num_gpus=self.gpus,
                max_retries=0,  # Ray's own retries never end if memory is short
                scheduling_strategy="SPREAD",
            )

            def submit(job: Job) -> Any:
                there = replace(job, folder=job.folder.absolute(), root=job.root and job.root.absolute())
                return remote.remote(task, there, flag, mailbox, data.get(_data_key(job)))

            Watch(self._ray, submit, mailbox, listen).run(jobs, self._nodes)

    def _placed(self, settings: TrialSettings) -> TrialSettings:
        """Settings with threads and device, so that a trial uses exactly what it requests from the cluster."""
        settings = with_threads(settings, self.cpus)
        device = settings.compute.device
        if device.startswith("cuda") and not self.gpus:
            raise InputError(f"compute.device is {device}, but trials request no GPU; add --gpus-per-trial 1, or less.")
        return settings if device != "auto" else computing(settings, device="cuda" if self.gpus else "cpu")

    def _nodes(self) -> list[str]:
        """The nodes with enough CPUs and GPUs for a trial; raises InputError if there is none."""
        there = [node for node in self._ray.nodes() if node["Alive"]]
        have = {node["NodeID"]: tuple(node["Resources"].get(name, 0) for name in ("CPU", "GPU")) for node in there}
        enough = [node for node, (cpus, gpus) in have.items() if cpus >= self.cpus and gpus >= self.gpus]
        if not enough:
            found = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sorted(have.values(), reverse=True))
            raise InputError(
                f"no node of the Ray cluster has the {self.cpus} CPUs and {self.gpus:g} GPUs that a trial requests "
                f"(nodes: {found or 'none'}); lower --cpus-per-trial or --gpus-per-trial, or add a node."
            )
        return enough

    def _data(self, jobs: Sequence[Job], nodes: Sequence[str], flag: Path) -> dict[Any, Any]:
        """For each data configuration: the data to send, or None if every node reads the same data as this process.

        Raises:
            InputError: a node cannot run smoothmorph, or does not see the folder of the run.
        """
        from ....pipeline.cohorts.preparation import prepare

        on_disk = [job for job in jobs if READERS[job.settings.cohort.reader].on_disk]  # every node makes the others
        examples = {_data_key(job): job for job in on_disk}
        wanted = [(job.settings, job.root and job.root.absolute()) for job in examples.values()]
        looks = [self._at(node, look).remote(flag, wanted) for node in nodes]
        try:
            seen = self._ray.get(looks)
        except self._ray.exceptions.RayTaskError as error:
            raise InputError(
                f"a node cannot run smoothmorph ({cause(error)}); install the same versions on every node."
            ) from None
        for fault, _ in seen:
            if fault:
                raise InputError(fault)
        sent = {}
        for place, (key, job) in enumerate(examples.items()):
            prepared = prepare(job.settings, job.root)
            same = all(fingerprints[place] == prepared.fingerprint for _, fingerprints in seen)
            sent[key] = None if same else self._ray.put(as_arrays(prepared))
        return sent

    def _at(self, node: str, what: Any, **options: Any) -> Any:
        """A remote function or class that runs on this node, in addition to the trials."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return self._ray.remote(what).options(num_cpus=0, scheduling_strategy=strategy, **options)


@contextlib.contextmanager
def _flag(folder: Path) -> Iterator[Path]:
    """A temporary file in the folder of the run. A node that does not see it has another folder at this path."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".ray-*"):  # files of killed runs
        left.unlink(missing_ok=True)
    flag = folder / f".ray-{uuid.uuid4().hex}"
    flag.touch()
    try:
        yield flag
    finally:
        flag.unlink(missing_ok=True)


def _data_key(job: Job) -> Any:
    from ....pipeline.cohorts.preparation import data_key

    return data_key(job.settings, job.root)
