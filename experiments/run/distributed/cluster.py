"""Joining a Ray cluster, or starting one on this machine alone."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from ....transforms.basics.errors import InputError, one_line
from ..executors import available_cores
from ..signals import handlers_kept


def import_ray(address: str | None) -> Any:
    """The package ``ray``, imported only where it is used.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # what Ray has on other systems: the cluster listens on 127.0.0.1 only; read at the import
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"Ray cannot be imported ({one_line(error)}); install it with `pip install 'smoothmorph[distributed]'`."
        ) from None
    return ray


def answering(address: str) -> str:
    """The address of a cluster, after a knock at its door: Ray itself would go on knocking for minutes.

    Raises:
        InputError: it is not of the form HOST:PORT or auto, or nobody listens there.
    """
    if address == "auto":  # as Ray has it
        address = os.environ.get("RAY_ADDRESS") or address
    if address == "auto":
        return address
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isdecimal() and len(port) < 6 and 0 < int(port) < 2**16):
        raise InputError(
            f"--address {address}: expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto."
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise InputError(
            f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`, or correct --address."
        ) from None
    return address


@contextlib.contextmanager
def joined(ray: Any, address: str | None, threads: int) -> Iterator[None]:
    """Be in the cluster at ``address``; None starts one for the time being, that only this machine can reach.

    Where this process is in a cluster already, it stays in that one.

    Args:
        threads: of the numerical libraries, in each process of the job.

    Raises:
        InputError: the cluster cannot be joined or started, or it is lost meanwhile.
    """
    if ray.is_initialized():
        yield
        return
    # Numerical libraries read these when they are imported; for the whole job, so that its processes can be reused.
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    options: dict[str, Any] = {"runtime_env": {"env_vars": variables}}
    if address is None:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
    try:
        with handlers_kept():
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = one_line(error).rstrip(".")
        if address is None:
            raise InputError(f"cannot start Ray on this machine: {reason}.") from None
        raise InputError(
            f"cannot join the Ray cluster at {address}: {reason}; if it asks for a token, that and RAY_AUTH_MODE=token "
            "must be set here, too."
        ) from None
    try:
        yield
    except ray.exceptions.RayError as error:
        raise InputError(
            f"the Ray cluster was lost ({one_line(error)}); give the same command again to go on."
        ) from None
    finally:
        ray.shutdown()
