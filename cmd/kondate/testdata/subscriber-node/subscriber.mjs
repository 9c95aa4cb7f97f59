// Prints each allergen result of a tenant's menus, and which menus were erased. Run it: npm ci && NATS_URL=nats://127.0.0.1:4222 node subscriber.mjs
import { readFileSync } from "node:fs";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

// It may come twice: what is derived from it must not change by that.
function handle(m) {
  const session = m.headers.get("ce-source").split("/").pop();
  const what = `${m.headers.get("ce-type")} ${m.headers.get("Kondate-Schema")}`;
  switch (what) {
    case "menu.erased 1": // delete what you hold of the session
      console.log("erased", session);
      break;
    case "allergen.completed 1":
    case "allergen.completed 2": // what is read here is the same in both
      for (const { menu_id, result } of m.json().results) {
        // data is null where nothing was found, which never means safe
        const found = (result.data?.allergens ?? []).map(({ code, level }) => `${code}:${level}`);
        console.log(session, menu_id, result.status, found.join(",") || "-");
      }
      break;
    default: // a newer program wrote it
      console.error("passed over:", what);
  }
}

const { NATS_URL, NATS_CREDS, TENANT = "public" } = process.env;
// The user of an URL such as nats://user:password@host:4222 is given apart.
const at = new URL(NATS_URL);
const nc = await connect({
  servers: at.host,
  name: "team-example",
  maxReconnectAttempts: -1,
  ...(at.username && { user: decodeURIComponent(at.username), pass: decodeURIComponent(at.password) }),
  ...(NATS_CREDS && { authenticator: credsAuthenticator(readFileSync(NATS_CREDS)) }),
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => nc.close());

const durable = "team-example-node"; // the broker keeps its place under this name
const manager = await jetstreamManager(nc);
await manager.consumers.add("MENU_EVENTS", {
  durable_name: durable,
  filter_subjects: [`menu.evt.${TENANT}.*.allergen.completed`, `menu.evt.${TENANT}.*.menu.erased`],
  ack_policy: AckPolicy.Explicit,
});
const consumer = await jetstream(nc).consumers.get("MENU_EVENTS", durable);
while (!nc.isClosed()) {
  try {
    for await (const m of await consumer.consume({ max_messages: 100, expires: 5000 })) {
      try {
        handle(m);
        m.ack(); // after the work; a lost ack brings the message again
      } catch (err) {
        console.error("not readable, set aside:", err.message); // it would be the same next time
        m.term(err.message);
      }
    }
  } catch (err) { // the broker is away: the client connects again by itself
    console.error(err.message);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
