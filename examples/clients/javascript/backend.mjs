// A backend in plain JavaScript: backend.mjs NODE. GNOMON_URL and GNOMON_TOKEN say which cloud.
import process from "node:process";

const { GNOMON_URL: url, GNOMON_TOKEN: token } = process.env;
const authorization = `Bearer ${token}`;

async function call(method, path, body, headers = {}) {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization, "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, etag: answer.headers.get("etag"), body: text ? JSON.parse(text) : null };
}

// Sets the price only if nobody changed the shadow since it was read; tries again if so.
async function setPrice(shadow, price) {
  for (;;) {
    const { etag } = await call("GET", shadow);
    const answer = await call("PATCH", shadow, { price }, { "if-match": etag });
    if (answer.status !== 412) return answer;
  }
}

// The events of the stream, from behind the event `last` on.
async function* watch(path, last) {
  const headers = { authorization, ...(last ? { "last-event-id": last } : {}) };
  const abort = new AbortController();
  const answer = await fetch(url + path, { headers, signal: abort.signal });
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of answer.body) {
      text += decoder.decode(chunk, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const fields = Object.fromEntries(
          event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
        );
        if (fields.event) yield { ...fields, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    abort.abort();
  }
}

async function main(node) {
  const shadow = `/v1/nodes/${node}/shadows/device/pump-7`;
  console.log("node:", (await call("PUT", `/v1/nodes/${node}`, { labels: { region: "north" } })).status);
  console.log("written:", (await call("PATCH", shadow, { price: 1.75 })).status);

  const stale = await call("PATCH", shadow, { price: 1.8 }, { "if-match": '"9"' });
  console.log("a version that is out of date:", stale.status, stale.body.error.code);
  console.log("the version that is there:", (await setPrice(shadow, 1.79)).status);

  // Everything that is there, then `synced` with an id to come back with.
  let place;
  for await (const event of watch(`/v1/watch?node=${node}`)) {
    if (event.event === "synced") {
      place = event.id;
      break;
    }
  }
  await call("PATCH", shadow, { price: 1.81 });
  // Nothing is missed between the two connections.
  for await (const event of watch(`/v1/watch?node=${node}`, place)) {
    if (event.event === "shadow") {
      console.log("changed meanwhile:", JSON.stringify(event.data.patch));
      break;
    }
  }

  const { versions } = (await call("GET", `/v1/nodes/${node}/history/device/pump-7`)).body;
  for (const { version, by, patch } of versions) {
    console.log(`version ${version} by ${by}:`, JSON.stringify(patch));
  }
}

await main(process.argv[2]);
