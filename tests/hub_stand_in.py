"""A small server on 127.0.0.1 that answers as the Hugging Face Hub does, as far as models are pushed and fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_stand_in"
_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


class Hub:
    """Repositories: name -> branch -> file -> content; and what was asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.private: dict[str, bool] = {}
        self.url = ""


def branch_sha(hub: Hub, repo: str, branch: str) -> str:
    names = [[name, hashlib.sha256(content).hexdigest()] for name, content in sorted(hub.repos[repo][branch].items())]
    return hashlib.sha1(json.dumps(names).encode()).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers until the context ends."""
    hub = Hub()

    class Handler(Answers):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Answers(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self.hub.asked.append(f"{self.command} {path}")
        for method, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method.split():
                if method != "GET HEAD" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    return self.answer(401, {"error": "Invalid username or password."})
                return getattr(self, name)(body, **found.groupdict())
        return self.answer(404, {"error": f"the stand-in has no {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # --- pushing ------------------------------------------------------------------------------------------------------

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self.hub.repos:
            return self.answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"})
        self.hub.repos[repo], self.hub.private[repo] = (
            {"main": {".gitattributes": b""}},
            asked.get("private") or asked.get("visibility") == "private",
        )
        return self.answer(200, {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def branch(self, _: bytes, repo: str, branch: str) -> None:
        branches = self.hub.repos[repo]
        if branch in branches:
            return self.answer(409, {"error": "Reference already exists"})
        branches[branch] = dict(branches["main"])
        return self.answer(201, {})

    def validate(self, body: bytes) -> None:
        import yaml

        head = json.loads(body)["content"].split("---\n")[1]
        content = yaml.safe_load(head)
        errors = [] if isinstance(content, dict) and content.get("library_name") else [{"message": "no library_name"}]
        return self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        modes = [
            {
                "path": file["path"],
                "uploadMode": "regular",  # the hub's own protocol for large files is huggingface_hub's affair
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        return self.answer(200, {"files": modes})

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        files = self.hub.repos[repo][revision]
        for line in body.decode().splitlines():
            what = json.loads(line)
            value = what["value"]
            if what["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif what["key"] == "deletedFile":
                del files[value["path"]]
        sha = branch_sha(self.hub, repo, revision)
        self.hub.repos[repo][sha] = dict(files)  # a revision to ask for, like a branch
        url = f"{self.hub.url}/{repo}/commit/{sha}"
        return self.answer(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    # --- fetching -----------------------------------------------------------------------------------------------------

    def info(self, _: bytes, repo: str, revision: str = "main") -> None:
        if repo not in self.hub.repos or (self.hub.private[repo] and not self.headers.get("Authorization")):
            return self.answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        branch = self._branch(repo, revision)
        if branch is None:
            return self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        names = [{"rfilename": name} for name in self.hub.repos[repo][branch]]
        private = self.hub.private[repo]
        return self.answer(200, {"id": repo, "sha": branch_sha(self.hub, repo, branch), "siblings": names, "private": private})

    def tree(self, _: bytes, repo: str, revision: str) -> None:
        branch = self._branch(repo, revision)
        if branch is None:
            return self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        files = self.hub.repos[repo][branch]
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]
        return self.answer(200, entries)

    def resolve(self, _: bytes, repo: str, revision: str, file: str) -> None:
        branch = self._branch(repo, revision)
        content = None if branch is None else self.hub.repos[repo][branch].get(file)
        if content is None:
            return self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        sha = branch_sha(self.hub, repo, str(branch))
        return self.answer(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": sha})

    def _branch(self, repo: str, revision: str) -> str | None:
        branches = self.hub.repos.get(repo, {})
        return next((name for name in branches if revision in (name, branch_sha(self.hub, repo, name))), None)


ROUTES = (
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("POST", rf"/api/models/{_REPO}/branch/(?P<branch>\w+)", "branch"),
    ("POST", rf"/api/models/{_REPO}/preupload/(?P<revision>\w+)", "preupload"),
    ("POST", rf"/api/models/{_REPO}/commit/(?P<revision>\w+)", "commit"),
    ("GET HEAD", rf"/api/models/{_REPO}", "info"),
    ("GET HEAD", rf"/api/models/{_REPO}/revision/(?P<revision>\w+)", "info"),
    ("GET HEAD", rf"/api/models/{_REPO}/tree/(?P<revision>\w+)", "tree"),
    ("GET HEAD", rf"/{_REPO}/resolve/(?P<revision>\w+)/(?P<file>[\w.-]+)", "resolve"),
)
