"""Headless Chromium, driven by its own protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import websocket

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio", "--disable-quic",
    "--disable-background-networking", "--disable-sync", "--disable-component-update", "--remote-debugging-port=0",
    "--remote-allow-origins=*", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


class Page:
    """A page in the browser; `requests` has the addresses that it asked for, `said` what it complained of."""

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=60)
        self.ids, self.requests, self.said = itertools.count(1), [], []
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != number:
            self._note(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _note(self, message):
        parameters = message.get("params", {})
        if message.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(parameters["request"]["url"] if "request" in parameters else parameters["url"])
        elif message.get("method") == "Log.entryAdded":
            self.said.append(parameters["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(parameters["exceptionDetails"].get("exception", parameters)))

    def run(self, expression):
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not (
            value := self.run(f"(() => {{ const v = {expression}; return typeof v === 'object' ? !!v : v }})()")
        ):
            assert time.monotonic() < end, (
                f"still not true: {expression}\n{self.said}\n{self.run('document.body.innerText')}"
            )
            time.sleep(0.2)
        return value

    def choose_file(self, path, selector="input[type=file]"):
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def resize(self, width, height, dark=False):
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path):
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def opened(address, folder, width=1280, height=800, dark=False, arguments=()):
    """Opens a page in a browser of its own, whose profile lies in a folder."""
    process = subprocess.Popen(
        [BROWSER, *QUIET, *arguments, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port, end = Path(folder) / "DevToolsActivePort", time.monotonic() + 60
        while not (port.exists() and port.read_text().count("\n")):
            assert time.monotonic() < end, "the browser does not start"
            time.sleep(0.1)
        base = f"http://127.0.0.1:{port.read_text().split()[0]}/json/list"
        (target,) = [each for each in json.load(urllib.request.urlopen(base)) if each["type"] == "page"]
        page = Page(target["webSocketDebuggerUrl"])
        page.resize(width, height, dark)
        page.send("Page.navigate", url=address)
        yield page
    finally:
        process.terminate()
        process.wait(timeout=30)
