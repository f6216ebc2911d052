// MQTT.js in both versions, on TCP, TLS and WebSocket. One line of JSON per case on stdout.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const at = JSON.parse(process.argv[2]);
const DEADLINE = 15_000;
let number = 0;
const fresh = (what = "t") => `${what}/js/${++number}`;

function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not in time`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// A client with an inbox.
async function open(protocolVersion, options = {}) {
  const { url = `mqtt://127.0.0.1:${at.plain}`, ...rest } = options;
  const client = mqtt.connect(url, { protocolVersion, reconnectPeriod: 0, ...rest });
  const waiting = [];
  const arrived = [];
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload: payload.toString(), packet };
    if (waiting.length > 0) waiting.shift()(message);
    else arrived.push(message);
  });
  client.on("error", () => {});
  const connack = await within("CONNACK", new Promise((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed")));
  }));
  return {
    client,
    connack,
    next: () => within("a message", new Promise((resolve) => {
      if (arrived.length > 0) resolve(arrived.shift());
      else waiting.push(resolve);
    })),
    silent: async (ms = 300) => {
      await pause(ms);
      assert.deepEqual(arrived.map((m) => m.payload), []);
    },
    subscribe: (topic, opts) => within("SUBACK", client.subscribeAsync(topic, opts)),
    publish: (topic, payload, opts) => within("an answer", client.publishAsync(topic, payload, opts)),
    end: () => within("the end", client.endAsync()),
  };
}

async function everyQos(version, options) {
  const one = await open(version, options);
  const topic = fresh();
  for (const qos of [0, 1, 2]) {
    await one.subscribe(topic, { qos });
    for (let n = 0; n < 20; n++) await one.publish(topic, `${n}`, { qos });
    for (let n = 0; n < 20; n++) assert.equal((await one.next()).payload, `${n}`);
  }
  await one.silent();
  await one.end();
}

async function burst(version, options) {
  const one = await open(version, options);
  const topic = fresh();
  await one.subscribe(topic, { qos: 2 });
  const sent = [];
  for (let n = 0; n < 900; n++) sent.push(one.publish(topic, `${n}`, { qos: 2 }));
  await Promise.all(sent);
  const found = new Set();
  for (let n = 0; n < 900; n++) found.add((await one.next()).payload);
  assert.equal(found.size, 900);
  await one.silent();
  await one.end();
}

async function retained(version, options) {
  const one = await open(version, options);
  const topic = fresh();
  await one.publish(topic, "kept", { qos: 1, retain: true });
  await one.subscribe(topic, { qos: 1 });
  const message = await one.next();
  assert.deepEqual([message.payload, message.packet.retain], ["kept", true]);
  await one.publish(topic, "", { qos: 1, retain: true });
  assert.equal((await one.next()).payload, "");
  await one.end();
}

async function will(version, options) {
  const hearer = await open(version, options);
  const topic = fresh();
  await hearer.subscribe(topic, { qos: 1 });
  const lost = await open(version, { ...options, will: { topic, payload: "gone", qos: 1 } });
  lost.client.stream.destroy();
  assert.equal((await hearer.next()).payload, "gone");
  await hearer.end();
}

async function resume(version, options) {
  const topic = fresh();
  const session = { ...options, clientId: fresh("id"), clean: false };
  if (version === 5) session.properties = { sessionExpiryInterval: 60 };
  const first = await open(version, session);
  assert.equal(first.connack.sessionPresent, false);
  await first.subscribe(topic, { qos: 2 });
  await first.end();
  const other = await open(version, options);
  for (const qos of [0, 1, 2]) await other.publish(topic, `${qos}`, { qos });
  await other.end();
  const client = mqtt.connect(options.url ?? `mqtt://127.0.0.1:${at.plain}`, {
    protocolVersion: version, reconnectPeriod: 0, ...session, url: undefined, manualConnect: true,
  });
  const found = [];
  const all = new Promise((resolve) => client.on("message", (_, payload) => {
    found.push(payload.toString());
    if (found.length === 2) resolve();
  }));
  const connected = new Promise((resolve) => client.once("connect", resolve));
  client.connect();
  assert.equal((await within("CONNACK", connected)).sessionPresent, true);
  await within("what waited", all);
  assert.deepEqual(found, ["1", "2"]);
  await within("the end", client.endAsync());
}

async function takeover(version, options) {
  const clientId = fresh("id");
  const first = await open(version, { ...options, clientId });
  const closed = new Promise((resolve) => first.client.once("close", resolve));
  const told = new Promise((resolve) => first.client.once("disconnect", resolve));
  const second = await open(version, { ...options, clientId });
  if (version === 5) assert.equal((await within("DISCONNECT", told)).reasonCode, 0x8e);
  await within("the end of the first", closed);
  await second.end();
}

async function big(version, options) {
  const one = await open(version, options);
  const topic = fresh();
  const payload = "0123456789abcdef".repeat(65_536);
  await one.subscribe(topic, { qos: 1 });
  await one.publish(topic, payload, { qos: 1 });
  assert.equal((await one.next()).payload, payload);
  await one.end();
}

async function keepAlive(version, options) {
  const one = await open(version, { ...options, keepalive: 1 });
  await pause(3_000);
  assert.equal(one.client.connected, true);
  await one.end();
}

async function aliases(version, options) {
  const one = await open(version, {
    ...options, autoAssignTopicAlias: true, properties: { topicAliasMaximum: 10 },
  });
  const base = fresh();
  await one.subscribe(`${base}/+`, { qos: 1 });
  const sent = [];
  for (let n = 0; n < 60; n++) sent.push(one.publish(`${base}/${n % 20}`, `${n}`, { qos: 1 }));
  await Promise.all(sent);
  for (let n = 0; n < 60; n++) {
    const message = await one.next();
    assert.deepEqual([message.topic, message.payload], [`${base}/${n % 20}`, `${n}`]);
  }
  await one.end();
}

async function shared(version, options) {
  const topic = fresh();
  const [one, two] = [await open(version, options), await open(version, options)];
  for (const member of [one, two]) await member.subscribe(`$share/g/${topic}`, { qos: 1 });
  for (let n = 0; n < 20; n++) await one.publish(topic, `${n}`, { qos: 1 });
  const found = new Set();
  for (let n = 0; n < 10; n++) {
    found.add((await one.next()).payload);
    found.add((await two.next()).payload);
  }
  assert.equal(found.size, 20);
  await one.end();
  await two.end();
}

async function properties(version, options) {
  const one = await open(version, options);
  const topic = fresh();
  await one.subscribe(topic, { qos: 1, properties: { subscriptionIdentifier: 9 } });
  const given = {
    responseTopic: "t/answer", correlationData: Buffer.from([0, 1]), contentType: "text/plain",
    userProperties: { a: ["1", "2"] },
  };
  await one.publish(topic, "x", { qos: 1, properties: given });
  const found = (await one.next()).packet.properties;
  assert.equal(found.responseTopic, given.responseTopic);
  assert.deepEqual([...found.correlationData], [0, 1]);
  assert.deepEqual({ ...found.userProperties }, given.userProperties);
  assert.equal(found.subscriptionIdentifier, 9);
  await one.end();
}

async function receiveMaximum(version, options) {
  const slow = await open(version, { ...options, properties: { receiveMaximum: 3 } });
  const other = await open(version, options);
  const topic = fresh();
  await slow.subscribe(topic, { qos: 2 });
  for (let n = 0; n < 60; n++) await other.publish(topic, `${n}`, { qos: 1 + (n % 2) });
  const found = new Set();
  for (let n = 0; n < 60; n++) found.add((await slow.next()).payload);
  assert.equal(found.size, 60);
  await slow.end();
  await other.end();
}

async function wrongLogin(version, options) {
  const right = await open(version, { ...options, username: "backend", password: "a token" });
  await right.end();
  const wrong = open(version, { ...options, username: "backend", password: "no" });
  await assert.rejects(wrong, (error) => error.code === (version === 5 ? 0x86 : 4));
}

const files = { ca: readFileSync(at.ca), cert: readFileSync(at.certificate), key: readFileSync(at.key) };
const transports = {
  "on TCP": {},
  "on WebSocket": { url: `ws://127.0.0.1:${at.websocket}` },
  "on TLS with a certificate": { url: `mqtts://localhost:${at.tls}`, ...files },
  "on WebSocket with TLS": { url: `wss://localhost:${at.secureWebsocket}`, ca: files.ca },
};
const all = {
  "QoS 0, 1 and 2 arrive once each, in order": everyQos,
  "900 messages of QoS 2 at once arrive once each": burst,
  "retained messages are kept and deleted": retained,
  "a will follows a lost connection": will,
  "a session that is resumed has what waited": resume,
  "a client that connects again takes its session over": takeover,
  "a message of a megabyte arrives whole": big,
};
const some = { "a client that pings stays": keepAlive, "logins are checked": wrongLogin };
const onlyNew = {
  "topic aliases stand for their topics": aliases,
  "the members of a group share its messages": shared,
  "what a request needs arrives with it": properties,
  "no more is under way than the client takes": receiveMaximum,
};

for (const version of [4, 5]) {
  for (const [where, options] of Object.entries(transports)) {
    let cases = { ...all };
    if (where === "on TCP") cases = { ...cases, ...some };
    if (version === 5) cases = { ...cases, ...onlyNew };
    for (const [what, run] of Object.entries(cases)) {
      const outcome = { name: `${version === 5 ? "5.0" : "3.1.1"} ${where}: ${what}` };
      try {
        await run(version, options);
      } catch (error) {
        outcome.error = error.stack;
      }
      console.log(JSON.stringify(outcome));
    }
  }
}
process.exit(0);
