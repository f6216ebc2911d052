"""The broker under test: its files, its process, where it listens."""

import itertools
import json
import pathlib
import queue
import subprocess
import threading
import time

import trustme

CONFIG = """
acl = "acl.toml"
[[listener]]
addr = "127.0.0.1:0"
[[listener]]
addr = "127.0.0.1:0"
tls = { certificate = "server.pem", key = "server-key.pem", client_ca = "ca.pem" }
[[listener]]
addr = "127.0.0.1:0"
transport = "websocket"
[[listener]]
addr = "127.0.0.1:0"
transport = "websocket"
tls = { certificate = "server.pem", key = "server-key.pem" }
[auth]
tokens = "tokens"
token_key = "token-key"
anonymous = true
[[auth.certificate]]
name = "cn"
role = "device"
issuer = "ca.pem"
[limits]
packet = 2097152
keep_alive = 600
"""

ACL = """
[[rule]]
role = "anonymous"
publish = ["t/#"]
subscribe = ["t/#"]
[[rule]]
role = "device"
publish = ["t/#", "$aws/things/{name}/shadow/#"]
subscribe = ["t/#", "$aws/things/{name}/shadow/#"]
[[rule]]
role = "service"
publish = ["t/#", "$aws/things/#"]
subscribe = ["t/#", "$aws/things/#"]
"""

# How long anything may take that is expected to happen.
DEADLINE = 15


class Broker:
    """`with Broker(binary, folder) as broker`: running until the end of the block."""

    def __init__(self, binary, work):
        self.binary = str(pathlib.Path(binary).resolve())
        self.work = pathlib.Path(work).resolve()
        self.folder = self.work / "broker"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.numbers = itertools.count(1)

    def __enter__(self):
        self._write_files()
        self.process = subprocess.Popen(
            [self.binary, "broker", "--config", str(self.folder / "broker.toml")],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("w"),
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, f"the broker did not start; see {self.folder / 'log'}"
        ports = [int(at["addr"].rsplit(":", 1)[1]) for at in json.loads(line)["listeners"]]
        self.plain, self.tls, self.websocket, self.secure_websocket = ports
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(DEADLINE)

    def _write_files(self):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        server = authority.issue_cert("localhost", "127.0.0.1")
        client = authority.issue_cert(common_name="thing-1")
        for name, issued in [("server", server), ("client", client)]:
            pem = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
            (self.folder / f"{name}.pem").write_bytes(pem)
            issued.private_key_pem.write_to_path(self.folder / f"{name}-key.pem")
        (self.folder / "broker.toml").write_text(CONFIG)
        (self.folder / "acl.toml").write_text(ACL)
        (self.folder / "token-key").write_text("k" * 40)
        hashed = subprocess.run(
            [self.binary, "broker", "--hash-token", str(self.folder / "token-key")],
            input="a token\n",
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        (self.folder / "tokens").write_text(f"backend:{hashed}:service\n")

    @property
    def ca(self):
        return str(self.folder / "ca.pem")

    @property
    def client_certificate(self):
        return str(self.folder / "client.pem")

    @property
    def client_key(self):
        return str(self.folder / "client-key.pem")

    def check_alive(self):
        assert self.process.poll() is None, "the broker has ended"
        log = (self.folder / "log").read_text()
        assert "panicked" not in log, log

    def fresh(self, what="t"):
        """A name that no other case uses."""
        return f"{what}/{next(self.numbers)}"


class Inbox:
    """What arrived, in order, from any thread."""

    def __init__(self):
        self.queue = queue.Queue()

    def put(self, item):
        self.queue.put(item)

    def next(self, timeout=DEADLINE):
        return self.queue.get(timeout=timeout)

    def take(self, count):
        return [self.next() for _ in range(count)]

    def expect_nothing(self, seconds=0.3):
        try:
            item = self.queue.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected: {item!r}")


def wait_for(event, what):
    assert event.wait(DEADLINE), f"{what}: not within {DEADLINE} s"


def eventually(what, condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE} s"
        threading.Event().wait(0.02)
