// A worker for the stage allergen that knows one ingredient. Run it: npm install && NATS_URL=nats://127.0.0.1:4222 node worker.mjs
import { connect, headers } from "@nats-io/transport-node";

function answer({ menu_id, name }) {
  const egg = name.includes("卵");
  return {
    menu_id,
    result: {
      stage: "allergen",
      status: egg ? "partial" : "unknown", // not a word about what we do not know
      provider: "example-node",
      provider_version: "1",
      basis: egg ? "glossary" : "none",
      confidence: egg ? 0.9 : 0,
      data: {
        allergens: egg ? [{ code: "egg", level: "contains", source_ingredient: "egg", confidence: 0.9 }] : [],
        by_standard: { jp: egg ? ["egg"] : [], eu: [], us: [] },
        completeness: egg ? "name_only" : "unknown",
        declared_by_restaurant: [],
        ask_staff: { ja: "アレルゲンを教えてください。", translated: "Please tell me the allergens." },
        disclaimer: "Read from the name only. Ask the staff.",
      },
    },
  };
}

const nc = await connect({ servers: process.env.NATS_URL, maxReconnectAttempts: -1 });
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => nc.drain()); // what is at work is still answered

const final = headers();
final.set("Kondate-Final", "1");
for await (const m of nc.subscribe("menu.work.*.allergen", { queue: "work-allergen" })) {
  let body;
  try {
    body = { results: m.json().items.map(answer) };
  } catch {
    body = { error: { reason: "bad_request", permanent: true } };
  }
  m.respond(JSON.stringify(body), { headers: final });
}
