// What "my allergens" say about a dish. There is no answer here that means "safe".
import { choices } from "./codes.js";
import { data } from "./model.js";

// codesOf returns the allergen codes that the chosen keys stand for.
export const codesOf = (keys) => new Set(choices.filter(([key]) => keys.has(key)).flatMap(([, codes]) => codes));

// verdict is
//   avoid    one of mine is contained, or likely
//   may      one of mine may be contained
//   unknown  there is no complete answer: waiting, failed, not known, or made from less than a recipe
//   rest     mine are not listed, which clears nothing
// with the codes of mine that were found.
export function verdict(dish, mine) {
  const answer = data(dish, "allergen");
  const found = (answer?.allergens ?? []).filter((a) => mine.has(a.code));
  const avoid = found.filter((a) => a.level === "contains" || a.level === "likely");
  if (avoid.length > 0) return { kind: "avoid", codes: avoid.map((a) => a.code) };
  if (found.length > 0) return { kind: "may", codes: found.map((a) => a.code) };
  const known = dish.stages.allergen.status === "ok" && answer?.completeness === "recipe";
  return { kind: known ? "rest" : "unknown", codes: [] };
}

// count counts the dishes of each verdict.
export function count(dishes, mine) {
  const numbers = { avoid: 0, may: 0, unknown: 0, rest: 0 };
  for (const dish of dishes) numbers[verdict(dish, mine).kind]++;
  return numbers;
}
