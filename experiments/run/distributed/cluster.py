"""Join a Ray cluster, or start one on this machine only."""

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
    """Import and return the package ``ray``.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # Ray's default on other systems: the cluster listens on 127.0.0.1 only; read at import
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
    """Check that a cluster answers, and return its address. Ray itself would retry for minutes.

    Raises:
        InputError: the address is not HOST:PORT or auto, or no cluster answers there.
    """
    if address == "auto":  # Ray reads the same variable
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
    """Connect to a cluster while the context lasts; a process that is already connected keeps its cluster.

    Args:
        ray: the package.
        address: address of the cluster; None starts a temporary one that only this machine can reach.
        threads: number of threads of the numerical libraries in each process of the job.

    Raises:
        InputError: the cluster cannot be joined or started, or the connection is lost.
    """
    if ray.is_initialized():
        yield
        return
    # Numerical libraries read these variables at import. They hold for the whole job, so that Ray can reuse processes.
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
            f"cannot join the Ray cluster at {address}: {reason}; if the cluster asks for a token, set the token and "
            "RAY_AUTH_MODE=token here, too."
        ) from None
    try:
        yield
    except ray.exceptions.RayError as error:
        raise InputError(
            f"the Ray cluster was lost ({one_line(error)}); repeat the same command to continue."
        ) from None
    finally:
        ray.shutdown()
