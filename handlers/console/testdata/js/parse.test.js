import assert from "node:assert/strict";
import test from "node:test";
import { format, parse, read } from "../../static/parse.js";

test("a line is a dish, with the price at its end", () => {
  for (const [line, name, price] of [
    ["親子丼 850円", "親子丼", "850円"], ["親子丼　８５０円", "親子丼", "８５０円"], ["天丼……¥1,200", "天丼", "¥1,200"], ["Soup $9.50", "Soup", "$9.50"],
    ["Soupe 9,50 €", "Soupe", "9,50 €"], ["そば 千二百円", "そば", "千二百円"], ["刺身 時価", "刺身", "時価"], ["日替り 850円(税込935円)〜", "日替り", "850円(税込935円)〜"],
    ["冷奴", "冷奴", undefined], ["850円", "850円", undefined], ["7 samurai roll", "7 samurai roll", undefined],
  ]) assert.deepEqual(parse(line).items, [price ? { name, price } : { name }], line);
});

test("headings are the category of what follows", () => {
  const { body, lines } = read("【丼もの】\n親子丼 850円\n\n# 一品\r\n冷奴\r枝豆");
  assert.deepEqual(body.items, [{ name: "親子丼", price: "850円", category: "丼もの" }, { name: "冷奴", category: "一品" }, { name: "枝豆", category: "一品" }]);
  assert.deepEqual(lines, [2, 5, 6]);
});

test("JSON is taken as it is, and an error if it is none", () => {
  assert.deepEqual(parse(' {"items":[{"name":"a","price":850}]} ').items, [{ name: "a", price: 850 }]);
  assert.throws(() => parse('{"items":'), SyntaxError);
  assert.deepEqual(read("\u200b\ufeff ").body.items, []);
});

test("what format writes is read back", () => {
  const items = [{ name: "a", price: "1円", category: "x" }, { name: "b", category: "x" }, { name: "c", price: "$2", category: "y" }];
  assert.deepEqual(parse(format({ items })).items, items);
});
