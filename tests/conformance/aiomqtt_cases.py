"""aiomqtt, in both versions."""

import asyncio
import functools
import ssl

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker import DEADLINE

V4, V5 = aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5


def cases(broker):
    for version, name in ((V4, "3.1.1"), (V5, "5.0")):
        for case in (every_qos, retained_to_a_wildcard, mutual_tls, a_crowd):
            yield f"aiomqtt {name}: {case.__doc__}", functools.partial(run, case, broker, version)
    yield f"aiomqtt 5.0: {groups.__doc__}", functools.partial(run, groups, broker, V5)


def run(case, broker, version):
    asyncio.run(asyncio.wait_for(case(broker, version), 4 * DEADLINE))


def client(broker, version, **extra):
    arguments = {"hostname": "127.0.0.1", "port": broker.plain} | extra
    return aiomqtt.Client(protocol=version, **arguments)


async def take(one, count):
    found = []
    async with asyncio.timeout(DEADLINE):
        async for message in one.messages:
            found.append(message)
            if len(found) == count:
                return found


async def every_qos(broker, version):
    """QoS 0, 1 and 2 arrive once each, in order"""
    topic = broker.fresh()
    async with client(broker, version) as one, client(broker, version) as other:
        for qos in (0, 1, 2):
            await one.subscribe(topic, qos=qos)
            for n in range(100):
                await other.publish(topic, str(n), qos=qos)
            assert [int(m.payload) for m in await take(one, 100)] == list(range(100))


async def retained_to_a_wildcard(broker, version):
    """500 retained messages all arrive at a wildcard"""
    topic = broker.fresh()
    async with client(broker, version) as one:
        for n in range(500):
            await one.publish(f"{topic}/{n}", str(n), qos=1, retain=True)
        await one.subscribe(f"{topic}/#", qos=1)
        found = await take(one, 500)
        assert {int(m.payload) for m in found} == set(range(500)) and all(m.retain for m in found)
        await one.unsubscribe(f"{topic}/#")
        for n in range(500):
            await one.publish(f"{topic}/{n}", b"", qos=1, retain=True)


async def mutual_tls(broker, version):
    """a client certificate lets in, and names the client"""
    context = ssl.create_default_context(cafile=broker.ca)
    context.load_cert_chain(broker.client_certificate, broker.client_key)
    at = {"hostname": "localhost", "port": broker.tls}
    topic = "$aws/things/thing-1/shadow/update"
    async with client(broker, version, tls_context=context, **at) as one:
        await one.subscribe(topic, qos=1)
        await one.publish(topic, "x", qos=1)
        assert (await take(one, 1))[0].payload == b"x"
    nobody = ssl.create_default_context(cafile=broker.ca)
    try:
        async with client(broker, version, tls_context=nobody, timeout=3, **at):
            raise AssertionError("it was let in without a certificate")
    except aiomqtt.MqttError:
        pass


async def a_crowd(broker, version):
    """100 clients each get their own message"""
    topic = broker.fresh()

    async def one_of_them(n):
        async with client(broker, version) as one:
            await one.subscribe(f"{topic}/{n}", qos=1)
            await one.publish(f"{topic}/{n}", str(n), qos=1)
            assert (await take(one, 1))[0].payload == str(n).encode()

    await asyncio.gather(*(one_of_them(n) for n in range(100)))


async def groups(broker, version):
    """a group gets each message once, beside those who are in no group"""
    topic = broker.fresh()
    options = SubscribeOptions(qos=1)
    async with client(broker, version) as one, client(broker, version) as two, \
            client(broker, version) as outside:
        for member in (one, two):
            await member.subscribe(f"$share/g/{topic}", options=options)
        await outside.subscribe(topic, options=options)
        for n in range(40):
            await outside.publish(topic, str(n), qos=1)
        found = [await take(one, 20), await take(two, 20), await take(outside, 40)]
        assert sorted(int(m.payload) for m in found[0] + found[1]) == list(range(40))
