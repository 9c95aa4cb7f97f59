// Says things in the language of the page, which is not that of the menu.
import { allergens, choiceNames, codes } from "./codes.js";
import { stageNames, words } from "./words.js";

export const languages = ["en", "ja"];

let current = 0;

// choose sets the language of the page; anything unknown is English.
export function choose(language) {
  current = Math.max(0, languages.indexOf(language));
}

export const language = () => languages[current];

// t returns a text with its {places} filled in; {n} also picks between "one|many".
export function t(key, values = {}) {
  const forms = words[key][current].split("|");
  const text = values.n === 1 ? forms[0] : forms.at(-1);
  return text.replace(/\{(\w+)\}/gu, (_, name) => String(values[name] ?? ""));
}

const named = (table) => (code) => (Object.hasOwn(table, code) ? table[code][current] : String(code ?? "").replaceAll("_", " "));

export const stageName = named(stageNames);
export const allergenName = named(allergens);
export const choiceName = named(choiceNames);
// lawName knows the items of the laws, some of which are called like our own codes.
export const lawName = named({ ...allergens, ...codes });
export const codeName = named(codes);

// languageName is the name of a language in the language of the page.
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([language()], { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

export const list = (items) => items.join(language() === "ja" ? "・" : ", ");
