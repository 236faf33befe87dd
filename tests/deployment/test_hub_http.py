"""Pushing and pulling by the hub's own library, to a server on this machine that answers as the hub does."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from nat.bundle import load_bundle

Command = Callable[..., Any]
COMMIT = "1234567890" * 4
MODEL, FILES = "/api/models/me/flowers", f"/me/flowers/resolve/{COMMIT}/"


class Answers(BaseHTTPRequestHandler):
    """What is asked of the hub, with one repository, whose files are kept in memory; each as a regular file of git."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    said: list[Any]  # what was told of the repository and of commits
    refused: str  # what is wrong with the model card

    def do_POST(self) -> None:  # as the base class has it
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path.partition("?")[0]:
            case "/api/repos/create":
                self.said.append(json.loads(body))
                self.tell({"url": f"http://{self.headers['Host']}/me/flowers"})
            case "/api/validate-yaml":
                errors = [{"message": self.refused}] if self.refused else []
                self.tell({"errors": errors, "warnings": []}, 400 if errors else 200)
            case "/api/models/me/flowers/preupload/main":
                paths = [file["path"] for file in json.loads(body)["files"]]
                self.tell({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
            case "/api/models/me/flowers/commit/main":
                lines = [json.loads(line) for line in body.splitlines()]
                self.said += [line["value"] for line in lines if line["key"] == "header"]
                found = [line["value"] for line in lines if line["key"] == "file"]
                self.files.update({file["path"]: base64.b64decode(file["content"]) for file in found})
                address = f"http://{self.headers['Host']}/me/flowers/commit/{COMMIT}"
                self.tell({"success": True, "commitUrl": address, "commitOid": COMMIT})
            case _:
                self.tell({"error": "no such page"}, 404)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in (MODEL, f"{MODEL}/revision/{COMMIT}") and self.files:
            self.tell({"id": "me/flowers", "sha": COMMIT, "siblings": [self.sibling(name) for name in self.files]})
        elif path == f"{MODEL}/tree/{COMMIT}":
            self.tell([{"type": "file", "path": name, **self.blob(name)} for name in self.files])
        elif path.startswith(FILES) and path.removeprefix(FILES) in self.files:
            self.send(self.files[path.removeprefix(FILES)])
        else:
            self.tell({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def blob(self, name: str) -> dict[str, Any]:
        return {"size": len(self.files[name]), "oid": hashlib.sha1(self.files[name]).hexdigest()}

    def sibling(self, name: str) -> dict[str, Any]:
        """Weights have their SHA-256 told, as large files have."""
        size, sha = len(self.files[name]), hashlib.sha256(self.files[name]).hexdigest()
        lfs = {"lfs": {"size": size, "sha256": sha, "pointerSize": 130}} if name.endswith("safetensors") else {}
        return {"rfilename": name, "size": size, "blobId": self.blob(name)["oid"], **lfs}

    def tell(self, answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(answer).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        told = {"Content-Length": str(len(content)), "ETag": etag, "X-Repo-Commit": COMMIT, **(headers or {})}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Answers]]:
    class Repository(Answers):
        files, said, refused = {}, [], ""  # one server, one repository

    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(huggingface_hub, "HfApi", partial(huggingface_hub.HfApi, endpoint=address, token="hf_test"))
    yield Repository
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_bundle_goes_over_the_wire_and_comes_back(
    hub: type[Answers], bundles: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    bundle = bundles["minimal"]
    pushed = command("push", bundle, "me/flowers", "--license", "apache-2.0", "--private")
    assert pushed.code == 0 and pushed.out.strip().endswith("/me/flowers"), pushed.err
    made, commit = hub.said
    assert (made["organization"], made["name"], made["visibility"]) == ("me", "flowers", "private")
    assert commit["summary"] == f"Subnet {load_bundle(bundle).model.architecture.id}"
    assert hub.files["model.safetensors"] == (bundle / "model.safetensors").read_bytes()
    hub.files["evil.bin"] = b"a pickle"
    pulled = command("pull", "me/flowers", tmp_path / "back")
    assert pulled.code == 0 and "verified" in pulled.out, pulled.err
    assert {path.name for path in (tmp_path / "back").iterdir()} == {*hub.files} - {"evil.bin"}
    for name in hub.files.keys() - {"evil.bin"}:
        assert (tmp_path / "back" / name).read_bytes() == hub.files[name]


def test_what_the_hub_refuses_is_said(
    hub: type[Answers], bundles: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    missing = command("pull", "me/flowers", tmp_path / "back")
    assert missing.code == 2 and "there is no repository 'me/flowers'" in missing.err, missing.err
    hub.refused = '"license" must be one of [apache-2.0, mit]'
    refused = command("push", bundles["minimal"], "me/flowers", "--license", "mine")
    assert refused.code == 2 and "must be one of [apache-2.0, mit]" in refused.err and "--license" in refused.err
    assert not hub.files
