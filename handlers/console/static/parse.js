// Turns what a person pastes into the body of POST /v1/sessions. The command line reads text by the same rules.

// A printed price at the end of a line: ¥850, 850円(税込935円)〜, $9.50, 9,50 €, 千二百円, 時価.
const price = /[\s　.…・:：─―-]+((?:[¥￥$€£]\s*[0-9０-９][0-9０-９.,，．]*|[0-9０-９][0-9０-９.,，．]*\s*(?:円|yen|[€$£])|[〇一二三四五六七八九十百千万]+円|時価).*)$/u;

const invisible = /^[\s\u200b\u200c\u200d\u2060\ufeff]+|[\s\u200b\u200c\u200d\u2060\ufeff]+$/gu;

const trim = (text) => text.replace(invisible, "");

// parse returns the body; JSON is taken as it is. It throws a SyntaxError for JSON that is none.
export const parse = (text) => read(text).body;

// read returns the body and, for each of its items, the number of its line (1-based); JSON has no lines.
export function read(text) {
  const json = trim(text);
  if (json.startsWith("{")) return { body: JSON.parse(json), lines: [] };
  const items = [];
  const lines = [];
  let category = "";
  for (const [i, raw] of text.split(/\r\n|\r|\n/u).entries()) {
    const line = trim(raw);
    if (line === "") continue;
    const heading = /^#+(.*)$/u.exec(line) ?? /^【(.*)】$/u.exec(line);
    if (heading) {
      category = trim(heading[1]);
      continue;
    }
    const item = { name: line };
    const found = price.exec(line);
    if (found && found.index > 0) {
      item.name = trim(line.slice(0, found.index));
      item.price = trim(found[1]);
    }
    if (category) item.category = category;
    items.push(item);
    lines.push(i + 1);
  }
  return { body: { items }, lines };
}

// format is the inverse of parse for a sample: the text that a person would have pasted.
export function format(menu) {
  const lines = [];
  let category = "";
  for (const item of menu.items) {
    if ((item.category ?? "") !== category) {
      category = item.category ?? "";
      if (lines.length > 0) lines.push("");
      lines.push(`【${category}】`);
    }
    lines.push(item.price ? `${item.name}  ${item.price}` : item.name);
  }
  return lines.join("\n");
}
