"""What `effnet demo` does: open a model, serve the page to try it on, and wait until told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from effnet_helpers import serving
from effnet_helpers.course import CourseError

from rich.console import Console


def demo(model_path: Path, host: str, port: int | None, open_browser: bool, console: Console) -> None:
    """Serves the page until Ctrl-C, or until the process is told to end: no picture stays then.

    Args:
        model_path: See `serving.open_model`.
        host: See `serving.serve`.
        port: See `serving.serve`.
        open_browser: See `serving.serve`.
        console: Where to say where the page is.

    Raises:
        CourseError: If the model cannot be opened, the page not be served, or Gradio is not installed.
    """
    stop = threading.Event()
    ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # the latter: a terminal is closed
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in ends}
    how = {"soft_wrap": True, "markup": False, "highlight": False}
    try:
        with serving.serve(serving.open_model(model_path), host, port, open_browser) as served:
            console.print(f"The page is at {served.address} as long as this runs. Ctrl-C ends it.", **how)
            if not served.is_local:
                say = "Every computer that reaches this one can open it"
                if host == "0.0.0.0":
                    say += f", at http://{socket.gethostname()}:{urlsplit(served.address).port}/ or by its IP address"
                console.print(f"{say}. Cameras work on this one only.", **how)
            with contextlib.suppress(KeyboardInterrupt):
                while not stop.wait(0.5):  # in short turns, since Ctrl-C does not end a wait on Windows
                    pass
    except (ValueError, ImportError) as error:
        raise CourseError(str(error)) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
