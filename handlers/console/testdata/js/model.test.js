import assert from "node:assert/strict";
import test from "node:test";
import { History, lines } from "../../static/history.js";
import { Session, stages } from "../../static/model.js";

const submitted = (seq, ...names) => ({
  type: "menu.submitted", seq, data: { title: "T", source_language: "ja", target_language: "en", item_count: names.length, items: names.map((name, position) => ({ menu_id: name, position, name })) },
});
const completed = (seq, stage, ids, epoch = 0, status = "ok") => ({
  type: `${stage}.completed`, seq, data: { results: ids.map((menu_id) => ({ menu_id, epoch, attempt: 1, result: { status, data: { from: seq } } })) },
});
const failed = (seq, stage, ids, epoch = 0) => ({ type: `${stage}.failed`, seq, data: { menu_ids: ids, epoch, attempts: 3, reason: "refused" } });

test("the first result of an epoch counts", () => {
  const s = new Session();
  s.apply(submitted(1, "a", "b"));
  assert.deepEqual(s.apply(completed(2, "allergen", ["a"])), ["a"]);
  assert.deepEqual(s.apply(completed(3, "allergen", ["a", "b"])), ["b"]);
  assert.equal(s.dishes.get("a").stages.allergen.result.data.from, 2);
  assert.deepEqual(s.apply(failed(4, "allergen", ["a"])), []);
  assert.equal(s.answers, 2);
});

test("a failure counts as answered, until somebody asks for a retry", () => {
  const s = new Session();
  s.apply(submitted(1, "a"));
  for (const [i, stage] of stages.entries()) s.apply(stage === "task8" ? failed(i + 2, stage, ["a"]) : completed(i + 2, stage, ["a"]));
  s.apply({ type: "menu.completed", seq: 10, data: { duration_ms: 5 } });
  assert.deepEqual([s.status, s.answers, s.failures], ["completed", 8, 1]);
  s.apply({ type: "task8.retry_requested", seq: 11, data: { menu_ids: ["a"], epoch: 2 } }); // not the next epoch
  assert.equal(s.failures, 1);
  s.apply({ type: "task8.retry_requested", seq: 12, data: { menu_ids: ["a"], epoch: 1 } });
  assert.deepEqual([s.status, s.answers, s.failures, s.dishes.get("a").stages.task8.status], ["processing", 7, 0, "pending"]);
  assert.deepEqual(s.apply(completed(13, "task8", ["a"], 0)), []); // too late: of the epoch before
  s.apply(completed(14, "task8", ["a"], 1));
  s.apply({ type: "menu.completed", seq: 15, data: { duration_ms: 9 } });
  assert.deepEqual([s.status, s.answers, s.failures], ["completed", 8, 0]);
});

test("an attempt that failed is one that follows", () => {
  const s = new Session();
  s.apply(submitted(1, "a"));
  s.apply({ type: "task6.attempt_failed", seq: 2, data: { menu_ids: ["a"], epoch: 0, attempt: 1, reason: "timeout" } });
  assert.equal(s.dishes.get("a").stages.task6.status, "retrying");
  assert.equal(s.answers, 0);
});

test("types that the page does not know change nothing", () => {
  const s = new Session();
  for (const type of ["nothing.completed", "menu.sung", "task6.sung", "image.completed", "menu"]) assert.deepEqual(s.apply({ type, seq: 1, data: { menu_ids: ["a"] } }), []);
});

test("a picture is there once it was completed, also while another one is made", () => {
  const s = new Session();
  s.apply(submitted(1, "a"));
  const image = (name, epoch) => s.apply({ type: `image.${name}`, seq: 2, data: { menu_id: "a", epoch } });
  image("requested", 1);
  assert.deepEqual([s.dishes.get("a").image.status, s.dishes.get("a").image.ready], ["requested", false]);
  image("completed", 1);
  image("requested", 2);
  image("completed", 1); // late
  assert.deepEqual([s.dishes.get("a").image.status, s.dishes.get("a").image.ready, s.dishes.get("a").image.epoch], ["requested", true, 2]);
});

test("an erased session has no dishes", () => {
  const s = new Session();
  s.apply(submitted(1, "a"));
  s.apply({ type: "menu.erased", seq: 2, data: {} });
  assert.deepEqual([s.status, s.dishes.size, s.answers], ["erased", 0, 0]);
});

test("rows give the same as events", () => {
  const s = new Session();
  const state = Object.fromEntries(stages.map((stage) => [stage, { status: "ok", epoch: 0 }]));
  s.fromRows({ title: "T", status: "completed", items: 1 }, [{ id: "a", position: 0, name: "a", category: null, price: null, allergy: { allergens: [] }, gen_image: "/v1/menus/a/image.svg", stages: state }]);
  const dish = s.dishes.get("a");
  assert.deepEqual([s.answers, dish.price, dish.stages.allergen.result.data, dish.image.ready], [8, "", { allergens: [] }, true]);
});

test("the history is the session after each event, and takes none twice", () => {
  const h = new History();
  const events = [submitted(3, "a", "b"), completed(5, "allergen", ["a"]), completed(9, "allergen", ["b"])];
  for (const event of [events[0], events[1], events[1], events[0], events[2]]) h.add(event);
  assert.equal(h.events.length, 3);
  assert.deepEqual([0, 1, 2, 3].map((n) => h.at(n).answers), [0, 0, 1, 2]);
  assert.equal(h.at(3), h.live);
});

test("lines are read across the parts that they come in", async () => {
  const text = '{"a":"献"}\n\n{"a":2}\n{"a":3}';
  for (const size of [1, 2, 5, 100]) {
    const bytes = new TextEncoder().encode(text);
    const stream = new ReadableStream({
      start(controller) {
        for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
        controller.close();
      },
    });
    assert.deepEqual(await all(lines(stream)), [{ a: "献" }, { a: 2 }, { a: 3 }]);
  }
});

async function all(found) {
  const out = [];
  for await (const one of found) out.push(one);
  return out;
}
