"""mosquitto_pub, mosquitto_sub and mosquitto_rr, in both versions."""

import functools
import subprocess
import threading

from broker import DEADLINE, wait_for
from paho_client import V5, Client

VERSIONS = {"mqttv311": "3.1.1", "mqttv5": "5.0"}


def cases(broker):
    for version, name in VERSIONS.items():
        for case in (every_qos, many_lines, retained, will, stored, mutual_tls, login, large):
            yield f"mosquitto {name}: {case.__doc__}", functools.partial(case, broker, version)
    for case in (request_response, shared):
        yield f"mosquitto 5.0: {case.__doc__}", functools.partial(case, broker, "mqttv5")


def command(broker, version, name, *arguments, port=None):
    where = ["-h", "127.0.0.1", "-p", str(port or broker.plain), "-V", version]
    return [f"mosquitto_{name}", *where, *arguments]


def publish(broker, version, *arguments, given=None, port=None, code=0):
    done = subprocess.run(command(broker, version, "pub", *arguments, port=port), input=given,
                          capture_output=True, timeout=2 * DEADLINE)
    assert done.returncode == code, (done.returncode, done.stderr)


class Subscriber:
    """mosquitto_sub, from its SUBACK on."""

    def __init__(self, broker, version, *arguments, port=None):
        line = command(broker, version, "sub", "-W", str(2 * DEADLINE), "-d", *arguments, port=port)
        # Line by line, so that its SUBACK is seen at once.
        self.process = subprocess.Popen(["stdbuf", "-oL", *line], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.found, self.subscribed = [], threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_for(self.subscribed, "SUBACK")

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("Subscribed"):
                self.subscribed.set()
            elif not line.startswith("Client "):
                self.found.append(line.rstrip("\n"))

    def lines(self):
        """The payloads, to the end."""
        self.reader.join(2 * DEADLINE)
        self.process.wait(DEADLINE)
        return self.found


def every_qos(broker, version):
    """QoS 0, 1 and 2 arrive"""
    topic = broker.fresh()
    for qos in ("0", "1", "2"):
        subscriber = Subscriber(broker, version, "-t", topic, "-q", qos, "-C", "1")
        publish(broker, version, "-t", topic, "-q", qos, "-m", f"qos {qos}")
        assert subscriber.lines() == [f"qos {qos}"]


def many_lines(broker, version):
    """5,000 messages of QoS 2 arrive once each, in order"""
    topic = broker.fresh()
    subscriber = Subscriber(broker, version, "-t", topic, "-q", "2", "-C", "5000")
    text = "".join(f"{n}\n" for n in range(5000))
    publish(broker, version, "-t", topic, "-q", "2", "-l", given=text.encode())
    assert subscriber.lines() == [str(n) for n in range(5000)]


def retained(broker, version):
    """a retained message is kept and deleted"""
    topic = broker.fresh()
    publish(broker, version, "-t", topic, "-q", "1", "-m", "kept", "-r")
    only = ("-t", topic, "-q", "1", "--retained-only", "-C", "1")
    assert Subscriber(broker, version, *only).lines() == ["kept"]
    publish(broker, version, "-t", topic, "-q", "1", "-n", "-r")
    with Client(broker, V5) as late:
        late.subscribe(topic)
        late.inbox.expect_nothing()


def will(broker, version):
    """a will follows a client that is killed"""
    topic = broker.fresh()
    hearer = Subscriber(broker, version, "-t", topic, "-C", "1")
    given = ("--will-topic", topic, "--will-payload", "gone", "--will-qos", "1")
    Subscriber(broker, version, "-t", "t/none", *given).process.kill()
    assert hearer.lines() == ["gone"]


def stored(broker, version):
    """what was published while the client was away waits for it"""
    topic, name = broker.fresh(), broker.fresh("sub").replace("/", "-")
    expiry = ("-x", "60") if version == "mqttv5" else ()
    session = ("-t", topic, "-q", "1", "-i", name, "-c", *expiry)
    subprocess.run(command(broker, version, "sub", "-E", *session), check=True, timeout=DEADLINE)
    for n in range(3):
        publish(broker, version, "-t", topic, "-q", "1", "-m", str(n))
    done = subprocess.run(command(broker, version, "sub", "-C", "3", *session), check=True,
                          timeout=DEADLINE, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "1", "2"]


def mutual_tls(broker, version):
    """a client certificate lets in; without one nobody comes in"""
    topic = "$aws/things/thing-1/shadow/update"
    ca = ("--cafile", broker.ca)
    proof = (*ca, "--cert", broker.client_certificate, "--key", broker.client_key)
    subscriber = Subscriber(broker, version, "-t", topic, "-C", "1", *proof, port=broker.tls)
    publish(broker, version, "-t", topic, "-q", "1", "-m", "x", *proof, port=broker.tls)
    assert subscriber.lines() == ["x"]
    bare = command(broker, version, "pub", "-t", topic, "-m", "x", *ca, port=broker.tls)
    assert subprocess.run(bare, capture_output=True, timeout=DEADLINE).returncode != 0


def login(broker, version):
    """the right token comes in, a wrong one does not"""
    publish(broker, version, "-t", broker.fresh(), "-m", "x", "-u", "backend", "-P", "a token")
    wrong = command(broker, version, "pub", "-t", "t/x", "-m", "x", "-u", "backend", "-P", "no")
    assert subprocess.run(wrong, capture_output=True, timeout=DEADLINE).returncode != 0


def large(broker, version):
    """a file of a megabyte arrives whole"""
    topic, path = broker.fresh(), broker.folder / "large"
    path.write_text("0123456789abcdef" * 65_536)
    subscriber = Subscriber(broker, version, "-t", topic, "-q", "1", "-C", "1")
    publish(broker, version, "-t", topic, "-q", "1", "-f", str(path))
    assert subscriber.lines() == [path.read_text()]


def request_response(broker, version):
    """a request gets its response"""
    topic, answer = broker.fresh(), broker.fresh()
    with Client(broker, V5) as service:
        service.subscribe(topic, 1)
        asking = subprocess.Popen(
            command(broker, version, "rr", "-t", topic, "-e", answer, "-m", "ask", "-W", "10"),
            stdout=subprocess.PIPE, text=True)
        request = service.inbox.next()
        assert (request.payload, request.properties.ResponseTopic) == (b"ask", answer)
        service.publish(answer, "told", 1)
        assert asking.communicate(timeout=DEADLINE)[0].strip() == "told"


def shared(broker, version):
    """the members of a group share its messages"""
    topic = broker.fresh()
    members = [Subscriber(broker, version, "-t", f"$share/g/{topic}", "-q", "1", "-C", "10")
               for _ in range(2)]
    text = "".join(f"{n}\n" for n in range(20))
    publish(broker, version, "-t", topic, "-q", "1", "-l", given=text.encode())
    found = [line for member in members for line in member.lines()]
    assert sorted(map(int, found)) == list(range(20))
