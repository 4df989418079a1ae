"""The page on which one tries a model, served to this computer's browser. Gradio is imported here only, when needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effnet_helpers.serving import page
from effnet_helpers.serving.answers import KINDS, MAX_BYTES, Opened, look
from effnet_helpers.serving.guard import Guard

LOCAL = ("127.0.0.1", "localhost")
KEPT = 45  # seconds that an uploaded picture is kept: until the browser has shown it and its turn has come
WAITING = 20  # pictures that wait for their turn, at most
SETTINGS = {  # of Gradio and of what it uses, which read them while they are imported
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Served:
    """A page that is being served.

    Attributes:
        address: Where a browser finds it.
        folder: Where pictures lie until they are deleted; gone when the page is closed.
        is_local: Whether only browsers of this computer reach it.
    """

    address: str
    folder: Path
    is_local: bool


@contextlib.contextmanager
def serve(
    opened: Opened, host: str = LOCAL[0], port: int | None = None, open_browser: bool = False
) -> Iterator[Served]:
    """Serves the page while the context lasts.

    Nothing leaves the computer: no telemetry, no fonts or scripts from elsewhere, and the browser is told to load none.
    One picture is looked at at a time. Pictures are deleted after a minute at most, and all of them at the end.

    Args:
        opened: The model, from `open_model`.
        host: The address to listen at; the default hears only this computer, "0.0.0.0" every computer of its network.
        port: The port to listen at; by default the first that is free from 7860 on.
        open_browser: Whether to open the page in the user's browser.

    Yields:
        A `Served`.

    Raises:
        ImportError: If Gradio is not installed; the message says how to install it.
        ValueError: If the port is taken, or the address is none of this computer's.

    Example:
        >>> with serving.serve(serving.open_model("model.keras"), open_browser=True) as served:
        ...     input(f"{served.address}, until Enter is pressed")
    """
    is_local, stop = host in LOCAL, threading.Event()
    folder = Path(tempfile.mkdtemp(prefix="effnet-demo-")).resolve()
    with contextlib.ExitStack() as closing:
        closing.callback(shutil.rmtree, folder, ignore_errors=True)
        gradio = closing.enter_context(_gradio(folder))
        from starlette.middleware import Middleware

        blocks = _blocks(gradio, opened, is_local)
        closing.callback(blocks.close, verbose=False)
        closing.callback(stop.set)
        threading.Thread(target=tidy, args=(folder, stop), daemon=True).start()
        blocks.queue(max_size=WAITING, default_concurrency_limit=1)
        address = _launch(
            blocks,
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            max_file_size=MAX_BYTES,
            app_kwargs={"middleware": [Middleware(Guard, folder=folder, host=host)]},
            theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=page.CSS,
            i18n=gradio.I18n(en={"common.complete": "done"}),  # which Gradio 6.31 says to screen readers by its key
        )
        yield Served(address, folder, is_local)


def _launch(blocks: Any, **options: Any) -> str:
    off = ("share", "run_history", "enable_monitoring", "mcp_server", "ssr_mode", "pwa", "inline", "show_error")
    nothing = {"footer_links": [], "allowed_paths": [], **dict.fromkeys(off, False)}
    try:
        return blocks.launch(**options, **nothing, quiet=True, prevent_thread_lock=True)[1]
    except OSError as error:
        raise ValueError(
            "The page cannot be served there: another program uses the port, or the address is not this computer's. "
            f"Received: {options['server_name']}, port {options['server_port'] or '7860 to 7959'}"
        ) from error


@contextlib.contextmanager
def _gradio(folder: Path) -> Iterator[Any]:
    before = dict(os.environ)
    try:
        for name in [name for name in before if name.startswith("GRADIO_")]:
            del os.environ[name]  # a setting of another project's may open this page to the world
        os.environ |= {**SETTINGS, "GRADIO_TEMP_DIR": str(folder)}
        # Gradio asks its own server whether it is there, and must not ask a proxy for that.
        direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), *LOCAL)))
        os.environ |= {"NO_PROXY": direct, "no_proxy": direct}
        try:
            import gradio
        except ImportError as error:
            raise ImportError(
                f'The page needs Gradio, which does not load ({error}): pip install "effnet-helpers[demo]", or in a '
                'checkout: pip install -c constraints.txt -e ".[demo]"'
            ) from error
        yield gradio
    finally:
        for name in os.environ.keys() - before:
            del os.environ[name]
        os.environ |= before


def _blocks(gradio: Any, opened: Opened, is_local: bool) -> Any:
    def answer(path: str | None) -> str:
        if path is None:
            return page.nothing_yet()
        try:
            return page.answered(look(opened, path))
        except ValueError as error:
            return page.refused(str(error))

    with gradio.Blocks(title="What is on this picture?", analytics_enabled=False) as blocks:
        gradio.HTML(page.about(opened, is_local))
        with gradio.Row():
            with gradio.Column(min_width=320):  # below it, columns stand one under the other, as on a phone
                picture = gradio.Image(
                    type="filepath",
                    sources=["upload", "webcam", "clipboard"],
                    label="Picture",
                    buttons=[],
                    height=360,
                    placeholder=f"Drop a picture here, or click to choose one\n{KINDS}, up to {MAX_BYTES // 2**20} MB",
                )
            with gradio.Column(min_width=320):
                said = gradio.HTML(page.nothing_yet())
        # The file as it was sent: our own reader opens it, as it does for `effnet predict`, and no other before it.
        picture.preprocess = lambda payload: payload.path if payload else None
        picture.change(answer, picture, said, api_visibility="private", show_progress="minimal")
    return blocks


def tidy(folder: Path, stop: threading.Event) -> None:
    """Deletes pictures that have been there for long enough, until told to stop."""
    while not stop.wait(2):
        files = [Path(place, name) for place, folders, names in os.walk(folder) for name in (*folders, *names)]
        for file in sorted(files, reverse=True):  # what is in a folder before the folder
            with contextlib.suppress(OSError):  # gone, or a folder that is not empty
                if time.time() - file.stat().st_mtime > KEPT:
                    file.rmdir() if file.is_dir() else file.unlink()
