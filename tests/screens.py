"""The size of a browser's window."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def sized(page: Any, width: int) -> Iterator[None]:
    """Show a page in a window of this width; below 600 pixels it is a telephone's."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
