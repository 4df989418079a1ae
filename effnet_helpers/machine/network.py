"""Is a server there? Asked before a download, so that a missing network is known within seconds."""

import threading
import urllib.error
import urllib.parse
import urllib.request

PROBE_SECONDS = 3.0


def why_unreachable(url: str, seconds: float = PROBE_SECONDS) -> str:
    """Says why the server of a web address cannot be reached.

    Args:
        url: The address of what is to be downloaded. Proxies of the environment are used, as the download will.
        seconds: For how long to wait at most.

    Returns:
        The reason, or an empty text if the server answers, be it to refuse this kind of question.
    """
    answer = [f"no answer from {urllib.parse.urlparse(url).netloc} within {seconds:g} seconds"]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
            answer.append("")
        except urllib.error.HTTPError:
            answer.append("")
        except OSError as error:
            answer.append(str(getattr(error, "reason", error)))

    # In a thread, because the time that looking up a host's name takes has no limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[-1]
