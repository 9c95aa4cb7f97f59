import assert from "node:assert/strict";
import test from "node:test";
import { allergens, choiceNames, choices } from "../../static/codes.js";
import { codesOf, count, verdict } from "../../static/filter.js";
import { choose, list, t } from "../../static/i18n.js";
import * as route from "../../static/route.js";
import { stageNames, words } from "../../static/words.js";
import { stages } from "../../static/model.js";

const dish = (status, completeness, ...found) => ({
  stages: { allergen: { status, result: status === "pending" || status === "failed" ? undefined : { data: { completeness, allergens: found.map(([code, level]) => ({ code, level })) } } } },
});
const egg = codesOf(new Set(["egg"]));

test("a verdict", () => {
  for (const [want, d] of [
    ["avoid", dish("ok", "recipe", ["egg", "contains"])],
    ["avoid", dish("ok", "recipe", ["egg", "likely"])],
    ["avoid", dish("partial", "name_only", ["milk", "contains"], ["egg", "likely"])],
    ["may", dish("ok", "recipe", ["egg", "may_contain"])],
    ["may", dish("ok", "recipe", ["egg", "a level of the future"])],
    ["rest", dish("ok", "recipe", ["milk", "contains"])],
    ["unknown", dish("ok", "name_only", ["milk", "contains"])],
    ["unknown", dish("partial", "recipe")],
    ["unknown", dish("unknown", "unknown")],
    ["unknown", dish("skipped", "recipe")],
    ["unknown", dish("pending")],
    ["unknown", dish("retrying")],
    ["unknown", dish("failed")],
  ]) assert.equal(verdict(d, egg).kind, want, JSON.stringify(d));
});

test("a choice stands for all of its codes, and every code belongs to a choice", () => {
  assert.equal(verdict(dish("ok", "recipe", ["mackerel", "likely"]), codesOf(new Set(["anyfish"]))).kind, "avoid");
  const all = codesOf(new Set(choices.map(([key]) => key)));
  assert.deepEqual([...all].sort(), Object.keys(allergens).sort());
  for (const [key] of choices) assert.ok(choiceNames[key], key);
});

test("dishes are counted", () => {
  assert.deepEqual(count([dish("ok", "recipe", ["egg", "contains"]), dish("pending"), dish("failed")], egg), { avoid: 1, may: 0, unknown: 2, rest: 0 });
});

test("every text is there in both languages, with the same places", () => {
  for (const [key, texts] of Object.entries({ ...words, ...stageNames })) {
    assert.equal(texts.length, 2, key);
    const places = texts.map((text) => [...new Set([...text.matchAll(/\{\w+\}/gu)].map(String))].sort().join());
    assert.equal(places[0], places[1], key);
  }
  for (const stage of stages) assert.ok(stageNames[stage], stage);
});

test("a text is filled in", () => {
  choose("en");
  assert.equal(t("session.dishes", { n: 1 }), "1 dish");
  assert.equal(t("session.dishes", { n: 2 }), "2 dishes");
  assert.equal(t("compose.line", { n: 2, name: "{field}", field: "$&", problem: "x" }), "Line 2, “{field}”: $& x");
  assert.equal(list(["a", "b"]), "a, b");
  choose("ja");
  assert.equal(t("session.dishes", { n: 2 }), "2品");
  choose("en");
});

test("an address is read as it was written", () => {
  for (const place of [
    { session: "", dish: "", token: "" }, { session: "a", dish: "", token: "" }, { session: "a", dish: "b/?#%", token: "" }, { session: "ä", dish: "b", token: "t=&?" },
  ]) assert.deepEqual(route.read(route.write(place)), place);
  assert.deepEqual(route.read("#/s/%zz"), { session: "%zz", dish: "", token: "" });
  assert.deepEqual(route.read("#/nowhere?token=x"), { session: "", dish: "", token: "" });
  assert.equal(route.tokenOf("/v1/sessions/a/events?token=x%2By"), "x+y");
  assert.equal(route.tokenOf("/v1/sessions/a/events"), "");
});
