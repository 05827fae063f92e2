"""What a server may answer, and what becomes of it: one clear message, and nothing half kept."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_files import ct_slice

from common.dicomweb import server as module
from common.dicomweb.command import main
from common.dicomweb.server import TOKEN, Server, ServerError, Unreachable
from common.pacs.command import main as pacs
from common.pacs.watch import Journal, watch

SLICE = ct_slice(np.full((8, 8), -800, np.int16), PatientName="Invented^Patient")
UID = str(SLICE.SOPInstanceUID)
OUTSIDE = ct_slice(np.full((8, 8), -800, np.int16), SOPInstanceUID="../../1")


def file_of(dataset: pydicom.Dataset) -> bytes:
    held = io.BytesIO()
    dataset.save_as(held, enforce_file_format=True)
    return held.getvalue()


def multipart(*parts: bytes, end: bytes = b"--cut--") -> bytes:
    return b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + end


MULTIPART = 'multipart/related; type="application/dicom"; boundary=cut'
JSON = "application/dicom+json"
FOUND = json.dumps(
    [{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "0020000E": {"vr": "UI", "Value": ["1.2.5"]}}]
).encode()


class Fake(BaseHTTPRequestHandler):
    """Answers from a list, and keeps what it was asked."""

    answers: list[tuple[int, str, bytes]]
    asked: list[tuple[str, dict[str, str]]]

    def reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            self.rfile.read(size + 2)
            if not size:
                break
        self.asked.append((f"{self.command} {self.path}", dict(self.headers)))
        status, kind, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = reply

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(module, "BACK_OFF", 1)
    monkeypatch.delenv(TOKEN, raising=False)
    Fake.answers, Fake.asked = [(200, JSON, b"[]")], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/dicom-web"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ((500, "text/plain", b"oops"), r"refused to send series 1\.2\.5: HTTP 500\. Its log tells why"),
        ((401, "text/plain", b""), r"HTTP 401\. Set DICOMWEB_TOKEN in the environment"),
        ((200, "text/html", b"<html>login</html>"), r"its answer cannot be read: "),
        ((200, MULTIPART, multipart(file_of(SLICE)[:300])), r"its answer cannot be read: "),
        ((200, MULTIPART, multipart(b"no dicom")), r"its answer cannot be read: "),
        ((200, MULTIPART, multipart(file_of(SLICE))), r"sent 1 of 2 objects of series 1\.2\.5\. Nothing is kept"),
        ((200, MULTIPART, multipart(file_of(ct_slice(np.zeros((8, 8)), series="1.9")))), r"it holds series 1\.9"),
        ((200, MULTIPART, multipart(file_of(OUTSIDE))), r"it holds an object whose UID is '\.\./\.\./1'"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_message_and_nothing_is_kept(
    fake: str, tmp_path: Path, answer: tuple[int, str, bytes], rule: str
) -> None:
    Fake.answers = [answer]
    with pytest.raises(ServerError, match=rule):
        Server(fake).fetch("1.2.3", "1.2.5", tmp_path / "in", expected=2)
    assert list((tmp_path / "in").iterdir()) == []


def test_a_busy_server_is_asked_again(fake: str, tmp_path: Path) -> None:
    Fake.answers = [(503, "text/plain", b""), (503, "text/plain", b""), (200, MULTIPART, multipart(file_of(SLICE)))]
    (path,) = Server(fake).fetch("1.2.3", "1.2.5", tmp_path, expected=1)
    assert path.name == f"{UID}.dcm" and len(Fake.asked) == 3
    Fake.answers, Fake.asked = [(503, "text/plain", b"")], []
    with pytest.raises(ServerError, match="was busy: asked 4 times to list the series of a study, HTTP 503"):
        Server(fake).series("1.2.3")
    assert len(Fake.asked) == module.ATTEMPTS


def test_what_a_server_accepts_and_does_not_keep_is_an_error(fake: str, tmp_path: Path) -> None:
    SLICE.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    Fake.answers = [(200, JSON, b"[]"), (200, JSON, b"{}"), (200, JSON, b"[]")]  # before, storing, after
    with pytest.raises(ServerError, match=f"has not stored 1 of 1 objects: {UID}. Run again"):
        Server(fake).send([tmp_path / "a.dcm"])
    known = json.dumps([{"00080018": {"vr": "UI", "Value": [UID]}}]).encode()
    Fake.answers, Fake.asked = [(200, JSON, known)], []
    assert Server(fake).send([tmp_path / "a.dcm"]) == [], "a server that ignores the offset of a page does not hang it"
    assert not any(asked.startswith("POST") for asked, _ in Fake.asked), "what is there is not stored again"


def test_a_token_goes_into_the_header_and_never_over_the_network_unencrypted(
    fake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN, "secret-token")
    Fake.answers = [(200, JSON, FOUND)]
    assert main(["list", "--server", fake]) == 0
    asked, headers = Fake.asked[0]
    assert headers["Authorization"] == "Bearer secret-token" and "ModalitiesInStudy=CT" in asked
    shown = capsys.readouterr()
    assert "1.2.3" in shown.out and "secret" not in shown.out + shown.err and "Invented" not in shown.out
    with pytest.raises(ValueError, match=r"would go unencrypted to pacs\.example\. Use https"):
        Server("http://pacs.example/dicom-web")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("pacs", r"--server must be an address such as"),
        ("https://me:secret@host/dicom-web", r"--server must hold no password"),
        ("http://127.0.0.1:9/dicom-web", r"does not answer"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(url: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(ValueError, match=rule) as caught:
        Server(url).series("1.2.3")
    assert "secret" not in str(caught.value)


class Archive:
    """Studies that arrive: numbers of objects at each poll."""

    def __init__(self, *polls: dict[str, int]) -> None:
        self.polls = list(polls)

    def __call__(self) -> list[dict[str, Any]]:
        now = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        return [{"study": study, "instances": count} for study, count in now.items()]


def test_studies_are_taken_when_they_have_arrived_and_once(tmp_path: Path) -> None:
    done: list[str] = []
    archive: Any = Archive({"a": 5, "b": 2}, {"a": 5, "b": 7}, {"a": 5, "b": 7, "c": 1}, {"a": 9, "b": 7, "c": 1})
    infer = lambda study: done.append(study) or {"objects": []}  # noqa: E731
    assert watch(archive, infer, tmp_path / "log.jsonl", every=0, polls=4) == 3
    assert done == ["a", "b", "c"]
    assert watch(archive, infer, tmp_path / "log.jsonl", every=0, polls=3) == 0, "the journal knows them"


def test_a_server_that_does_not_answer_is_no_failure_of_a_study(tmp_path: Path) -> None:
    answers = [Unreachable("does not answer"), {"objects": []}, {"objects": []}]

    def infer(study: str) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    archive: Any = Archive({"a": 1, "b": 1})
    assert watch(archive, infer, tmp_path / "log.jsonl", every=0, polls=4) == 2
    assert "failed" not in (tmp_path / "log.jsonl").read_text()
    with pytest.raises(ValueError, match=r"--log .* cannot be written"):
        watch(archive, infer, tmp_path, every=0, polls=1)


def test_a_description_is_matched_here_in_any_letters(fake: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = json.loads(FOUND)[0] | {"00081030": {"vr": "LO", "Value": ["CT Thorax native"]}}
    Fake.answers = [(200, JSON, json.dumps([named]).encode())]
    assert main(["list", "--server", fake, "--description", "*thorax*"]) == 0 and "1.2.3" in capsys.readouterr().out
    assert main(["list", "--server", fake, "--description", "*head*"]) == 0 and "1.2.3" not in capsys.readouterr().out
    assert not any("StudyDescription=" in asked for asked, _ in Fake.asked)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["list", "--date", "2020-01-01"], r"--date must be a day or a range such as 20200101-20200131"),
        (["pacs", "--study", "abc/../x", "--bundle", "ct_drsegunet"], r"--study must be a UID"),
        (["pacs", "--study", "1.2", "--bundle", "us_dense_seg", "--outputs", "[seg]"], r"There is no output 'seg'"),
        (["pacs", "--study", "1.2", "--bundle", "nosuch"], r"There is no bundle 'nosuch'"),
        (["pacs", "--bundle", "ct_drsegunet"], r"Give --study with the UID of one study, or --watch"),
        (["send", "/nowhere"], r"/nowhere does not exist"),
    ],
)
def test_mistakes_are_said_before_the_server_is_asked(fake: str, words: list[str], rule: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=rule):
        if words[0] == "pacs":
            pacs(["--server", fake, *words[1:]])
        main([words[0], "--server", fake, *words[1:]])
    assert Fake.asked == []


def test_a_study_that_fails_twice_is_set_aside_and_loses_no_other(tmp_path: Path) -> None:
    def infer(study: str) -> dict[str, Any]:
        if study == "bad":
            raise ValueError("no CT")
        return {"objects": [], "there": 0}

    archive: Any = Archive({"bad": 1, "good": 1})
    (tmp_path / "log.jsonl").write_text('{"study": "cut off by a k')
    assert watch(archive, infer, tmp_path / "log.jsonl", every=0, polls=5) == 1
    cut_off, *whole = (tmp_path / "log.jsonl").read_text().splitlines()
    assert cut_off == '{"study": "cut off by a k'
    lines = [json.loads(line) for line in whole]
    assert [(line["study"], line["status"]) for line in lines if line["study"] == "bad"][-1] == ("bad", "set aside")
    assert {line["study"]: line["status"] for line in lines} == {"bad": "set aside", "good": "stored"}
    assert Journal(tmp_path / "log.jsonl").is_done("bad")
