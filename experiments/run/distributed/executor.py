"""Trials on a Ray cluster. The driver's side; what runs on the nodes is in `worker`."""

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
    """Trials on a Ray cluster, as many at once as its CPUs and GPUs allow.

    A trial whose worker is lost (killed, out of memory, its node gone) is sent out again, three times at most, and
    goes on from its last epoch. A trial that fails by itself is reported, as on one machine.

    Args:
        address: HOST:PORT of the cluster's head, or auto for the cluster that this machine is part of; None starts one
            for the time of the run, which only this machine can reach.
        cpus: of a trial; it computes with so many threads unless its settings name a number.
        gpus: of a trial; a fraction lets several share one. With ``compute.device`` auto, trials that have a GPU
            compute there and others on the CPU.

    Raises:
        InputError: Ray is not installed, a number is out of range, or nobody answers at the address.
    """

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        if cpus < 1:
            raise InputError(f"--cpus-per-trial {cpus}: a trial needs at least one.")
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise InputError(f"--gpus-per-trial {gpus:g}: expected a whole number, or a fraction to share one GPU.")
        self.cpus, self.gpus = cpus, gpus
        self.address = None if address is None else answering(address)
        self._ray = import_ray(address)

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None:
        """Run every job. Their folders lie in one folder, which all nodes must see under the same path.

        Data that not every node finds by itself travel through Ray's object store, once per data configuration.

        Raises:
            InputError: the cluster cannot be joined or is lost, none of its nodes has so many CPUs and GPUs, or a node
                does not see the run folder.
            KeyboardInterrupt: stopped; the trials under way were reported as interrupted.
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
                max_retries=0,  # Ray's own would go on for ever where memory is short
                scheduling_strategy="SPREAD",
            )

            def submit(job: Job) -> Any:
                there = replace(job, folder=job.folder.absolute(), root=job.root and job.root.absolute())
                return remote.remote(task, there, flag, mailbox, data.get(_data_key(job)))

            Watch(self._ray, submit, mailbox, listen).run(jobs, self._nodes)

    def _placed(self, settings: TrialSettings) -> TrialSettings:
        """Threads and device, so that a trial uses what it asks the cluster for."""
        settings = with_threads(settings, self.cpus)
        device = settings.compute.device
        if device.startswith("cuda") and not self.gpus:
            raise InputError(f"compute.device is {device}, but trials ask for no GPU; add --gpus-per-trial 1, or less.")
        return settings if device != "auto" else computing(settings, device="cuda" if self.gpus else "cpu")

    def _nodes(self) -> list[str]:
        """The nodes that can take a trial; raises InputError if there is none."""
        there = [node for node in self._ray.nodes() if node["Alive"]]
        have = {node["NodeID"]: tuple(node["Resources"].get(name, 0) for name in ("CPU", "GPU")) for node in there}
        enough = [node for node, (cpus, gpus) in have.items() if cpus >= self.cpus and gpus >= self.gpus]
        if not enough:
            found = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sorted(have.values(), reverse=True))
            raise InputError(
                f"no node of the Ray cluster has the {self.cpus} CPUs and {self.gpus:g} GPUs that a trial asks for "
                f"(there are: {found or 'none'}); lower --cpus-per-trial or --gpus-per-trial, or add a node."
            )
        return enough

    def _data(self, jobs: Sequence[Job], nodes: Sequence[str], flag: Path) -> dict[Any, Any]:
        """By data configuration: what to send, or None where every node reads the same as this process.

        Raises:
            InputError: a node cannot run smoothmorph or does not see the run folder.
        """
        from ....pipeline.cohorts.preparation import prepare

        on_disk = [job for job in jobs if READERS[job.settings.cohort.reader].on_disk]  # others every node makes
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
        """A function or class that runs on this node, beside the trials."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return self._ray.remote(what).options(num_cpus=0, scheduling_strategy=strategy, **options)


@contextlib.contextmanager
def _flag(folder: Path) -> Iterator[Path]:
    """A file in the run folder while it lasts; a node that does not see it has another folder at this path."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".ray-*"):  # by a run that was killed
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
