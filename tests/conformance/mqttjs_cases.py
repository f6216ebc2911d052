"""MQTT.js: its cases are in mqttjs.mjs and report line by line."""

import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def cases(broker):
    settings = {
        "plain": broker.plain, "tls": broker.tls, "websocket": broker.websocket,
        "secureWebsocket": broker.secure_websocket, "ca": broker.ca,
        "certificate": broker.client_certificate, "key": broker.client_key,
    }
    # Packages are found from where a module lies, so it lies beside them.
    script = broker.work / "mqttjs.mjs"
    script.write_text((HERE / "mqttjs.mjs").read_text())
    process = subprocess.Popen(["node", str(script), json.dumps(settings)], stdout=subprocess.PIPE,
                               text=True, cwd=broker.work)
    seen = 0
    for line in process.stdout:
        outcome = json.loads(line)
        seen += 1
        yield f"mqtt.js {outcome['name']}", lambda outcome=outcome: check(outcome)
    code = process.wait()

    def ended():
        assert code == 0 and seen > 0, f"{seen} cases, exit code {code}"

    yield "mqtt.js: every case was run", ended


def check(outcome):
    assert "error" not in outcome, outcome["error"]
