"""A running gnomon-cloud, and things that have certificates of its own authority."""

import json
import pathlib
import subprocess
import tempfile
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# How long anything may take that is expected to happen.
DEADLINE = 15
KEY = ("AKIAGNOMON", "a-secret-of-the-test-only")
KEYS = {tenant: ("AKIA" + tenant.upper(), f"a-secret-for-{tenant}-only") for tenant in ("acme", "umbra")}


class Thing:
    """A thing's name and its files."""

    def __init__(self, name, certificate, key, ca):
        self.name, self.certificate, self.key, self.ca = name, certificate, key, ca


class Cloud:
    """`with Cloud(program, work) as cloud`: running until the end of the block."""

    def __init__(self, program, work):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=work))

    def __enter__(self):
        keys = self.folder / "keys"
        lines = [":".join(KEY)] + [":".join((*key, tenant)) for tenant, key in KEYS.items()]
        keys.write_text("\n".join(lines) + "\n")
        config = self.folder / "cloud.toml"
        config.write_text(f'[aws]\naccess_keys = "{keys}"\n')
        data = self.folder / "data"
        self.process = subprocess.Popen(
            [self.program, "serve", "--data", str(data), "--config", str(config),
             "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
             "--https", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=(self.folder / "log").open("w"), text=True)
        line = self.process.stdout.readline()
        assert line, (self.folder / "log").read_text()
        ready = json.loads(line)
        self.http = "http://" + ready["http"]
        self.https = "https://localhost:" + ready["https"].rsplit(":", 1)[1]
        self.port = int(ready["mqtt"].rsplit(":", 1)[1])
        self.token = (data / "admin-token").read_text().strip()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0
        log = (self.folder / "log").read_text()
        assert "panicked" not in log and "ERROR" not in log, log

    def call(self, method, path, body=None):
        """A call of the native API."""
        request = urllib.request.Request(
            self.http + path, method=method, data=body and json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def thing(self, name):
        """A thing with a key of its own and a certificate of the cloud."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anything")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject)
        pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        made = self.call("POST", f"/v1/things/{name}/certificates", {"csr_pem": pem.decode()})
        files = {
            "crt": made["certificate_pem"].encode(),
            "ca": made["ca_pem"].encode(),
            "key": key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption()),
        }
        for ending, content in files.items():
            (self.folder / f"{name}.{ending}").write_bytes(content)
        path = lambda ending: str(self.folder / f"{name}.{ending}")
        thing = Thing(name, path("crt"), path("key"), path("ca"))
        thing.serial = made["serial"]
        return thing
