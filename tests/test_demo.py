"""The page to try a model on: it says what `effnet predict` says, and serves, reads and sends nothing else."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from effnet_helpers import data, evaluation, export, models, serving
from effnet_helpers.course import ROOT
from effnet_helpers.course.cli import app
from effnet_helpers.models import ModelCard
from effnet_helpers.serving import answers, demo, guard, page

import chromium
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from typer.testing import CliRunner

# of Gradio's own making
pytestmark = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting' is deprecated", "ignore:The copy keyword is deprecated"
)
CAMERA = "[...document.querySelectorAll('button')].find(each => /access webcam/i.test(each.innerText))"
NAMES = ("a.png", "grün und blau.png", "ü%.png")
CLASSES = ("cats", "dogs", "<b>birds</b>")
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"
TRUST = models.Trust(
    images=200, kept_apart=True, temperature=1.0, coverage=0.9, set_thresholds=(0.3, 0.3, 0.3), false_marks=0.05,
    doubt=0.9, alarm_classes=("dogs",), alarm_recall=0.99, alarm_threshold=0.35, alarm_promised=True,
)  # fmt: skip
CARD = ModelCard(CLASSES, 32, "crop", "Lite0", "none", trust=TRUST, trained_on="Pets", tested=(90, 100))


def opened(*probabilities, card=CARD):
    """A model that always answers the same."""
    return serving.Opened(lambda pixels: np.repeat([probabilities], len(pixels), axis=0), card)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    return path


# what it says


@pytest.mark.parametrize("name", ["classifier.keras", "exported.onnx"])
def test_the_numbers_are_those_of_predict(name):
    picture = _picture()
    answer = serving.look(serving.open_model(GOLDEN / name), picture)
    row = export.predict_files(*export.open_classifier(GOLDEN / name), [picture]).iloc[0]
    assert answer.probabilities[0] == (data.printable(row["predicted"]), pytest.approx(row["probability"], abs=1e-6))
    assert [probability for _, probability in answer.probabilities] == sorted(
        (probability for _, probability in answer.probabilities), reverse=True
    )
    assert (answer.evidence is None) == (name != "classifier.keras") == (answer.why_no_map == answers.NO_MAP)
    assert answer.verdict.kind == "unknown", "its card is from before cards said when to trust a model"


def _picture():
    return next(path for path in sorted((GOLDEN / "pictures").rglob("*")) if path.is_file())


@pytest.mark.parametrize(
    ("probabilities", "kind", "heading"),
    [
        ((0.98, 0.01, 0.01), "clear", "Only one class fits: cats"),
        ((0.6, 0.35, 0.05), "doubtful", "Doubtful: it may be cats or dogs"),
        ((0.34, 0.33, 0.33), "none", "This may be none of the classes"),
    ],
)
def test_the_verdict_is_the_mark_of_predict_in_words(photo, probabilities, kind, heading):
    model = opened(*probabilities)
    answer = serving.look(model, photo)
    row = export.predict_files(model.predict, CARD, [photo]).iloc[0]
    assert (answer.verdict.kind, answer.verdict.heading) == (kind, heading)
    assert row["none_of_these"] == (kind == "none")
    assert kind == "none" or all(name in heading for name in row["set"].split(" | "))
    assert bool(answer.alarm) == row["alarm"]


def test_the_most_probable_class_is_named_although_it_lies_below_its_bar(photo):
    card = dataclasses.replace(CARD, trust=dataclasses.replace(TRUST, set_thresholds=(0.7, 0.3, 0.3)))
    verdict = serving.look(opened(0.6, 0.38, 0.02, card=card), photo).verdict
    assert verdict.heading == "Doubtful: it may be cats or dogs"
    assert "90%" in verdict.reason


def test_a_model_says_what_it_is_and_how_often_it_was_right():
    known, tested = opened().about
    low, high = evaluation.accuracy_interval(90, 100)
    assert "“Pets” tells 3 classes apart: cats, dogs, <b>birds</b>." in known
    expected = (
        f"It was right about 90 of 100 test pictures, from which it had not learned: 90%, .* {low:.0%} to {high:.0%}"
    )
    assert re.match(expected, tested)
    more = {"format": "litert", "precision": "int8", "input": {}, "output": {}, "parity": {}}
    exported = export.Contract(**dataclasses.asdict(CARD), **more)
    assert ", before it was exported as int8: 90%" in opened(card=exported).about[1]
    silent = ModelCard(tuple(f"c{number}" for number in range(15)), 32, "crop", "Lite0", "none")
    assert opened(card=silent).about[0].endswith("c11 … and 3 more.")
    assert "Nobody" in opened(card=silent).about[1]


@pytest.mark.parametrize(("share", "text"), [(0.9999, "over 99%"), (1e-9, "under 1%"), (0.5, "50%"), (0.994, "99%")])
def test_a_percentage_claims_no_certainty(share, text):
    assert answers.percent(share) == text


def test_the_spotlight_is_where_the_evidence_is(photo):
    answer, evidence = serving.look(opened(0.98, 0.01, 0.01), photo), np.zeros((4, 4), np.float32)
    assert answer.spotlight is answer.picture
    dark = dataclasses.replace(answer, evidence=evidence)
    assert (dark.spotlight is dark.picture, dark.brightest) == (True, "")
    evidence[0, 3] = 2
    lit = dataclasses.replace(answer, evidence=evidence)
    share = lit.spotlight[:, :, 0].astype(float).sum(axis=0) / lit.picture[:, :, 0].sum(axis=0)
    assert lit.brightest == "upper right"
    assert lit.spotlight.shape == answer.picture.shape
    np.testing.assert_allclose(lit.spotlight[-8:, :8], lit.picture[-8:, :8] * 0.25, atol=1)
    assert share[-4:].mean() > 0.35 > share[:4].mean()


# what it refuses to read


def _refusal(path):
    with pytest.raises(ValueError, match=r"^[^\n]+\.?$") as caught:
        serving.look(opened(0.98, 0.01, 0.01), path)
    sentence = str(caught.value)
    assert str(path.parent) not in sentence
    return sentence


def test_what_is_no_picture_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "note.jpg").write_text("not a picture")
    (tmp_path / "draw.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert "cannot be read as a picture (its content is not a picture): JPEG, PNG" in _refusal(tmp_path / "note.jpg")
    assert "cannot be read" in _refusal(tmp_path / "draw.svg")


def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    with (tmp_path / "heavy.jpg").open("wb") as file:
        file.truncate(answers.MAX_BYTES + 2**20)
    Image.new("1", (9000, 9000)).save(tmp_path / "wide.png")
    monkeypatch.setattr(export, "try_to_read", None)
    assert _refusal(tmp_path / "heavy.jpg") == "This file has 21 MB, and at most 20 MB are taken: make it smaller."
    assert "81 million pixels, and at most 64 million" in _refusal(tmp_path / "wide.png")


# the page


def test_names_of_classes_are_text_on_the_page(photo):
    answer = serving.look(opened(0.01, 0.01, 0.98), photo)
    texts = page.answered(answer), page.about(opened()), page.refused("<script>")
    assert [BeautifulSoup(text, "html.parser").find(["b", "script"]) for text in texts] == [None] * 3
    soup = BeautifulSoup(texts[0], "html.parser")
    assert [each.text for each in soup.select(".name")] == ["<b>birds</b>", "cats", "dogs"]
    assert [each.text for each in soup.select(".percent")] == ["98%", "1%", "1%"]
    assert soup.img["src"].startswith("data:image/jpeg;base64,")
    assert "as the model saw it" in soup.img["alt"]


def test_only_so_many_bars_are_shown(photo):
    card = ModelCard(tuple(f"class {number}" for number in range(9)), 32, "crop", "Lite0", "none")
    answer = serving.look(opened(*[0.2, *[0.1] * 8], card=card), photo)
    soup = BeautifulSoup(page.answered(answer), "html.parser")
    assert len(soup.select(".bars li")) == page.SHOWN
    assert "4 classes" in soup.text


def test_the_page_says_where_pictures_go():
    assert "stays on this computer" in page.about(opened())
    assert "is sent to the computer that serves this page" in page.about(opened(), is_local=False)


# the guard before the server


class Behind:
    """What stands behind the guard: answers everything, and notes how much it was sent."""

    def __init__(self):
        self.received = None

    async def __call__(self, scope, receive, send):
        self.received = b""
        while (message := await receive())["type"] == "http.request":
            self.received += message.get("body", b"")
            if not message.get("more_body"):
                break
        else:
            self.received = "left"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b""})


def ask(folder, path, method="GET", body=(b"",), host="127.0.0.1:7860", **headers):
    """Status and headers of an answer, and what reached the application."""
    behind, sent = Behind(), []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts[-1]["more_body"] = False
    sending = iter(parts)

    async def receive():
        return next(sending)

    async def send(message):
        sent.append(message)

    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(guard.Guard(behind, folder, "127.0.0.1")(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), behind.received


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/assets/index-1.js", "/gradio_api/queue/data"])
def test_what_the_page_needs_is_admitted_and_told_to_load_nothing_from_elsewhere(tmp_path, path):
    status, headers, _ = ask(tmp_path, path)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert not re.search(rb"https?:|\*", headers[b"content-security-policy"])
    assert (headers[b"cache-control"] == b"no-store") == (not path.startswith("/assets"))


@pytest.mark.parametrize(
    "path",
    [
        "/docs", "/monitoring", "/gradio_api/info", "/gradio_api/runs", "/gradio_api/proxy=http://a.hf.space/",
        "/gradio_api/file=https://example.org/a.png", "/gradio_api/stream/a", "/gradio_api/vibe-code",
        "/assets/../secret.txt", "/static/img/../../x", "/gradio_api/custom_component/1/client/component/index.js",
        "/gradio_api/mcp/", "/gradio_api/openapi.json", "/login", "/gradio_api/deep_link", "/index.html",
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_does_not_exist(tmp_path, path):
    assert ask(tmp_path, path)[0] == 404
    assert ask(tmp_path, path, "POST")[0] == 404
    assert ask(tmp_path, "/", "DELETE")[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200),
        ("192.168.1.9:7860", 200),
        ("[::1]:7860", 200),
        ("evil.example:7860", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_a_name_that_was_made_to_lead_here_is_refused(tmp_path, host, status):
    assert ask(tmp_path, "/", host=host)[0] == status


def test_other_pages_in_the_browser_may_not_ask(tmp_path):
    assert ask(tmp_path, "/", origin="http://127.0.0.1:7860")[0] == 200
    for origin in ("https://example.org", "null", "http://127.0.0.1:7861", "http://["):
        assert ask(tmp_path, "/gradio_api/upload", "POST", origin=origin)[0] == 403


def test_no_other_file_of_the_machine_is_served_or_looked_at(tmp_path):
    folder = tmp_path.resolve() / "held"
    folder.mkdir()
    own, secret = folder / "own.png", tmp_path.resolve() / "secret.txt"
    own.write_bytes(b"x")
    secret.write_text("secret")
    inside = [str(own)]
    outside = [str(secret), f"{folder}/../secret.txt", f"{folder}/%2e%2e/secret.txt", "/etc/passwd", "own.png",
               str(folder), f"{folder}/none.png", f"{own}\0", "file:///etc/passwd", "~/.bashrc", "",
               "//etc/passwd"]  # fmt: skip
    if os.name != "nt":
        (folder / "link.png").symlink_to(secret)
        outside.append(str(folder / "link.png"))
    for paths, seen in ((inside, 200), (outside, 404)):
        assert {ask(folder, f"/gradio_api/file={path}")[0] for path in paths} == {seen}
    for paths, seen in ((inside, 200), (outside, 403)):
        for path in paths:
            question = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()
            status, _, received = ask(folder, "/gradio_api/queue/join", "POST", [question[:9], question[9:]])
            assert (status, received) == (seen, question if seen == 200 else None), path
    for nonsense in (b"{", b"[" * guard.QUESTION):
        assert ask(folder, "/gradio_api/queue/join", "POST", [nonsense])[0] == 400, nonsense[:9]


def test_what_is_sent_is_bounded(tmp_path):
    limit, much = answers.MAX_BYTES + guard.FRAME, b"x" * 2**20
    assert ask(tmp_path, "/gradio_api/upload", "POST", content_length=str(limit + 1))[0] == 413
    parts = [much] * (limit // len(much))
    assert ask(tmp_path, "/gradio_api/upload", "POST", parts)[2] == b"".join(parts)
    assert ask(tmp_path, "/gradio_api/upload", "POST", [*parts, much])[2] == "left", "whatever it said of its length"
    assert ask(tmp_path, "/gradio_api/queue/join", "POST", [b"x" * guard.QUESTION, b"x"])[0] == 413
    for number in range(6):
        with (tmp_path / f"{number}.png").open("wb") as file:
            file.truncate(answers.MAX_BYTES)
    assert ask(tmp_path, "/gradio_api/upload", "POST")[0] == 503


def test_pictures_are_deleted_in_time(tmp_path, monkeypatch):
    old, new = tmp_path / "a" / "old.png", tmp_path / "b" / "new.png"
    for path in (old, new):
        path.parent.mkdir()
        path.write_bytes(b"x")
    for path in (old, old.parent):
        os.utime(path, (time.time() - demo.KEPT - 1,) * 2)
    turns = iter([False, False, True])
    demo.tidy(tmp_path, type("Stop", (), {"wait": lambda self, seconds: next(turns)})())
    assert (old.exists(), new.exists()) == (False, True)


# the command


def effnet(*arguments):
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    return result.exit_code, result.output


def test_without_gradio_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    code, said = effnet(GOLDEN / "classifier.keras")
    assert code == 2
    assert 'pip install "effnet-helpers[demo]"' in said
    assert said.count("\n") == 1


def test_a_model_that_cannot_be_opened_is_refused_in_a_sentence(tmp_path):
    code, said = effnet(tmp_path / "none.keras")
    assert code == 2
    assert "Missing: none.keras and none.json" in said.replace("\n", " ")


@pytest.mark.posix
@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP"])
def test_pictures_go_also_where_the_process_is_ended_or_its_terminal_closed(monkeypatch, how):
    closed, number = [], getattr(signal, how)

    @contextlib.contextmanager
    def serve(*_):
        try:
            os.kill(os.getpid(), number)
            yield demo.Served("there", Path(), True)
        finally:
            closed.append(how)

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(serving, "open_model", lambda path: None)
    before = signal.signal(number, lambda *_: pytest.fail("the command does not hear it"))
    try:
        assert effnet("model.keras")[0] == 0
    finally:
        signal.signal(number, before)
    assert closed == [how]


# the server


class Counting:
    """A classifier that takes its time, and notes how many pictures it looks at at once."""

    def __init__(self, predict):
        self.predict, self.now, self.most = predict, 0, 0

    def __call__(self, pixels):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.2)
        self.now -= 1
        return self.predict(pixels)


@pytest.fixture(scope="module")
def served():
    """The page, its model, and the hosts that anything in this process asked for meanwhile."""
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    hosts, resolve, connect = set(), socket.getaddrinfo, socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda host, *more, **how: hosts.add(host) or resolve(host, *more, **how))
        patch.setattr(socket.socket, "connect", lambda self, to: hosts.add(to[0]) or connect(self, to))
        patch.setenv("GRADIO_ALLOWED_PATHS", "/")  # settings of another project of the user's
        patch.setenv("GRADIO_SHARE", "True")
        before, model = dict(os.environ), serving.open_model(GOLDEN / "classifier.keras")
        model = dataclasses.replace(model, predict=Counting(model.predict))
        with serving.serve(model) as page:
            yield SimpleNamespace(**vars(page), model=model, hosts=hosts)
        assert not page.folder.exists(), "nothing is left when it is closed"
        assert dict(os.environ) == before


def fetch(served, path, body=None, **headers):
    request = urllib.request.Request(f"{served.address.rstrip('/')}{path}", body, headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def upload(served, content, name="picture.png"):
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={border}"}
    return fetch(served, "/gradio_api/upload", head + content + f"\r\n--{border}--\r\n".encode(), **kind)


def join(served, path, number, session):
    question = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    question |= {"fn_index": number, "session_hash": session}
    body, kind = json.dumps(question).encode(), {"Content-Type": "application/json"}
    return fetch(served, "/gradio_api/queue/join", body, **kind)


def look_at(served, path):
    """What the page is sent for a picture."""
    session = uuid.uuid4().hex[:10]
    (number,) = [each["id"] for each in json.loads(fetch(served, "/config")[1])["dependencies"]]
    assert join(served, path, number, session)[0] == 200
    told = fetch(served, f"/gradio_api/queue/data?session_hash={session}")[1].decode()
    messages = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]
    (last,) = [each for each in messages if each["msg"] == "process_completed"]
    return last["output"]["data"][0]


def test_the_page_itself_loads_nothing_from_elsewhere(served):
    assert served.address.startswith("http://127.0.0.1:")
    status, text = fetch(served, "/")
    soup = BeautifulSoup(text, "html.parser")
    loaded = [each.get("src") or each.get("href") for each in soup.select("script, link, img, iframe, base")]
    assert status == 200
    assert [each for each in loaded if each and "//" in each] == []
    config = json.loads(fetch(served, "/config")[1])
    assert (config["footer_links"], config["analytics_enabled"], config["stylesheets"]) == ([], False, [])
    assert b"googleapis" not in fetch(served, "/theme.css")[1]
    assert b"@import" not in fetch(served, "/theme.css")[1]


def test_a_picture_is_looked_at(served):
    status, said = upload(served, _picture().read_bytes())
    (path,) = json.loads(said)
    assert status == 200
    assert Path(path).is_relative_to(served.folder)
    assert fetch(served, f"/gradio_api/file={path}")[1] == _picture().read_bytes()
    soup = BeautifulSoup(look_at(served, path), "html.parser")
    row = export.predict_files(*export.open_classifier(GOLDEN / "classifier.keras"), [_picture()]).iloc[0]
    assert soup.select_one(".name").text == row["predicted"]
    assert soup.select_one(".percent").text == answers.percent(row["probability"])
    assert "spoke for" in soup.figcaption.text


def test_one_picture_is_looked_at_at_a_time_and_nobody_else_is_asked(served):
    with ThreadPoolExecutor(3) as threads:
        said = list(threads.map(lambda name: look_at(served, uploaded(served, name)), NAMES))
    assert all("bars" in each for each in said)
    assert served.model.predict.most == 1
    assert served.hosts == {"127.0.0.1"}


def uploaded(served, name):
    (path,) = json.loads(upload(served, _picture().read_bytes(), name)[1])
    assert fetch(served, f"/gradio_api/file={urllib.parse.quote(path)}")[0] == 200
    return path


def test_what_is_no_picture_or_too_large_is_refused_by_the_server(served):
    (path,) = json.loads(upload(served, b"not a picture", "note.png")[1])
    assert "cannot be read as a picture" in look_at(served, path)
    size = answers.MAX_BYTES + guard.FRAME + 1
    connection = http.client.HTTPConnection(served.address.strip("/").rpartition("/")[2], timeout=60)
    connection.request("POST", "/gradio_api/upload", headers={"Content-Length": str(size)})  # and nothing of it
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (413, answers.too_large(size))
    connection.close()


def test_the_server_gives_no_other_file(served):
    secret = Path(__file__).resolve()
    for path in (secret, "/etc/passwd", f"{served.folder}/../{secret.name}", "https://example.org/x.png"):
        assert fetch(served, f"/gradio_api/file={path}")[0] == 404
    assert join(served, str(secret), 0, "a")[0] == 403
    assert fetch(served, "/gradio_api/info")[0] == 404
    assert fetch(served, "/", Host="evil.example")[0] == 403


def test_a_port_that_is_taken_is_refused_in_a_sentence(served):
    port = int(served.address.rstrip("/").rpartition(":")[2])
    reason = rf"another program uses the port.* Received: 127\.0\.0\.1, port {port}"
    with pytest.raises(ValueError, match=reason), serving.serve(opened(1.0, 0.0, 0.0), port=port):
        pass


@pytest.mark.release
@pytest.mark.skipif(chromium.BROWSER is None, reason="there is no Chromium")
def test_in_a_browser_a_picture_is_dropped_and_the_camera_pointed(served, tmp_path):
    (tmp_path / "note.jpg").write_text("not a picture")
    with chromium.opened(served.address, tmp_path / "profile", 390, 844) as browser:
        browser.wait_for("document.querySelector('.answer') && document.querySelector('input[type=file]')")
        browser.choose_file(_picture())
        browser.wait_for("document.querySelector('.answer .bars')")
        assert browser.run("document.querySelector('.answer img').naturalWidth") > 0
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "it fits on a phone"
        browser.run("document.querySelector('button[aria-label=\"Remove Image\"]').click()")
        browser.wait_for("document.querySelector('.answer .waiting') && document.querySelector('input[type=file]')")
        browser.choose_file(tmp_path / "note.jpg")
        browser.wait_for("/cannot be read as a picture/.test(document.querySelector('.answer').innerText)")
        browser.run("document.querySelector('button[aria-label=\"Remove Image\"]').click()")
        browser.wait_for("document.querySelector('.answer .waiting')")
        browser.run("document.querySelector('button[aria-label=\"Capture from camera\"]').click()")
        browser.wait_for(f"{CAMERA} || document.querySelector('.capture-button')")
        browser.run(f"{CAMERA}?.click()")
        browser.wait_for("document.querySelector('.capture-button') && document.querySelector('video')?.videoWidth")
        browser.run("document.querySelector('.capture-button').click()")
        browser.wait_for("document.querySelector('.answer .bars')")
    asked = [url for url in browser.requests if not url.startswith((served.address, "data:", "blob:", "about:"))]
    assert asked == [], "no request leaves"
    assert not [text for text in browser.said if "Content Security Policy" in text]
