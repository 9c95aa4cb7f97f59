// The list of dishes: a row a dish, with its eight cells.
import { el, put, replace, shown } from "./dom.js";
import { verdict } from "./filter.js";
import { allergenName, list as join, stageName, t } from "./i18n.js";
import { answered, data, stages } from "./model.js";

// What a cell shows: every state has a shape of its own.
const signs = { pending: "", retrying: "↻", ok: "✓", partial: "◐", unknown: "?", skipped: "–", failed: "!" };
const known = (status) => (Object.hasOwn(signs, status) ? status : "unknown");

const levels = ["contains", "likely", "may_contain"];

export class DishList {
  #root;
  #open;
  #session = null;
  #rows = new Map(); // by menu_id
  #groups = []; // {element, ids} of each heading
  #mine = new Set(); // allergen codes to avoid
  #cross = false;

  constructor(root, open) {
    this.#root = root;
    this.#open = open;
  }

  // show brings the whole list up to date with a session, and with what the guest avoids.
  show(session, mine, cross) {
    this.#session = session;
    this.#mine = mine;
    this.#cross = cross;
    if (session.dishes.size !== this.#rows.size) this.#build();
    for (const id of this.#rows.keys()) this.update(id);
    this.#hideEmpty();
  }

  // rebuild makes everything anew, for instance in another language.
  rebuild() {
    this.#rows.clear();
    if (this.#session) this.show(this.#session, this.#mine, this.#cross);
  }

  focus(id) {
    this.#rows.get(id)?.open.focus();
  }

  #build() {
    const dishes = [...this.#session.dishes.values()].sort((a, b) => a.position - b.position);
    this.#rows.clear();
    this.#groups = [];
    replace(this.#root);
    let group = null;
    for (const dish of dishes) {
      if (group?.category !== dish.category) {
        const translated = el("span", { class: "heading-translation", dir: "auto" });
        const list = el("ul", { class: "dishes" });
        const element = el("div", { class: "group" }, dish.category && el("h2", {}, el("span", { lang: this.#session.source || null, dir: "auto" }, dish.category), translated), list);
        group = { category: dish.category, element, list, translated, ids: [] };
        this.#groups.push(group);
        put(this.#root, element);
      }
      group.ids.push(dish.id);
      const row = this.#row(dish, group);
      this.#rows.set(dish.id, row);
      put(group.list, row.element);
    }
  }

  #row(dish, group) {
    const row = {
      group,
      emoji: el("span", { class: "emoji", "aria-hidden": "true" }),
      open: el("button", { class: "name", type: "button", lang: this.#session.source || null, dir: "auto", click: () => this.#open(dish.id) }, dish.name),
      translation: el("span", { class: "translation", dir: "auto", lang: this.#session.target || null }),
      description: el("span", { class: "description", dir: "auto", lang: this.#session.target || null }),
      verdict: el("p", { class: "verdict" }),
      allergens: el("p", { class: "allergens" }),
      cells: stages.map(() => el("span", { class: "cell" })),
      words: el("span", { class: "words" }),
    };
    row.element = el(
      "li",
      { class: "dish" },
      row.emoji,
      el("div", { class: "names" }, row.open, row.translation),
      el("span", { class: "price", dir: "auto" }, dish.price),
      el("div", { class: "about" }, row.description, row.allergens, row.verdict),
      el("div", { class: "state" }, el("span", { class: "cells", "aria-hidden": "true" }, row.cells), row.words),
    );
    return row;
  }

  // update brings one dish up to date; a row whose answers are those it shows stays untouched.
  update(id) {
    const row = this.#rows.get(id);
    const dish = this.#session.dishes.get(id);
    if (!row || !dish) return;
    this.#judge(row, dish);
    const seen = stages.map((stage) => dish.stages[stage].result ?? dish.stages[stage].status);
    if (row.seen?.every((value, i) => value === seen[i]) && row.mine === this.#mine) return;
    row.seen = seen;
    row.mine = this.#mine;
    for (const [i, stage] of stages.entries()) {
      const status = known(dish.stages[stage].status);
      row.cells[i].className = `cell ${status}`;
      row.cells[i].textContent = signs[status];
      row.cells[i].title = `${stageName(stage)}: ${t(`state.${status}`)}`;
    }
    row.words.textContent = summary(dish);
    const translation = data(dish, "translation");
    row.translation.textContent = shown(translation?.translation);
    if (translation?.category_translation && translation.category_translation !== dish.category) row.group.translated.textContent = shown(translation.category_translation);
    row.description.textContent = shown(data(dish, "description")?.description);
    row.emoji.textContent = shown(data(dish, "search_engine")?.placeholder?.value);
    replace(row.allergens, allergens(dish, this.#mine));
  }

  #judge(row, dish) {
    const { kind, codes } = this.#mine.size > 0 ? verdict(dish, this.#mine) : { kind: "", codes: [] };
    row.element.hidden = kind === "avoid" && !this.#cross;
    row.element.className = `dish ${kind}`;
    row.verdict.textContent = kind ? t(`verdict.${kind}`, { what: join(codes.map(allergenName)) }) : "";
  }

  // update of single dishes may have hidden all of a heading.
  #hideEmpty() {
    for (const group of this.#groups) group.element.hidden = group.ids.every((id) => this.#rows.get(id).element.hidden);
  }

  // updated is called after the last of several updates.
  updated() {
    this.#hideEmpty();
  }
}

// summary says in words what the cells say in shapes.
function summary(dish) {
  const of = (...wanted) => stages.filter((stage) => wanted.includes(known(dish.stages[stage].status))).map(stageName);
  const done = of("ok", "partial", "skipped").length;
  if (of("pending").length === stages.length) return t("state.pending");
  const parts = [["failed", of("failed")], ["unknown", of("unknown")], ["retrying", of("retrying")]].filter(([, names]) => names.length > 0);
  return [done === stages.length ? t("state.all") : t("state.summary", { done }), ...parts.map(([state, names]) => `${t(`state.${state}`)}: ${names.join(", ")}`)].join(" · ");
}

// allergens is the line that a guest looks for; it never says that there are none.
function allergens(dish, mine) {
  const { status } = dish.stages.allergen;
  if (!answered(dish.stages.allergen)) return el("span", { class: "quiet" }, t("row.waiting"));
  if (status === "failed") return el("strong", { class: "ask" }, t("row.failed"));
  const found = data(dish, "allergen")?.allergens ?? [];
  if (found.length === 0) return el("strong", { class: "ask" }, t("row.unknown"));
  const groups = levels.map((level) => [level, found.filter((a) => a.level === level)]).filter(([, of]) => of.length > 0);
  return groups.map(([level, of]) => el("span", { class: `level ${level}` }, el("b", {}, t(`row.${level}`)), " ",
    of.map((a, i) => [i > 0 && ", ", el(mine.has(a.code) ? "mark" : "span", {}, allergenName(a.code))])));
}

// legend explains the cells.
export function legend(root) {
  replace(
    root,
    el("p", {}, stages.map(stageName).join(" · ")),
    el("ul", {}, Object.entries(signs).map(([status, sign]) => el("li", {}, el("span", { class: `cell ${status}`, "aria-hidden": "true" }, sign), " ", t(`state.${status}`)))),
  );
}
