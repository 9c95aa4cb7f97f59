// The allergens of a dish. Nothing here says that something is not in it: what is not known is said to be unknown.
import { el, shown } from "./dom.js";
import { allergenName, lawName, list, t } from "./i18n.js";
import { answered, data } from "./model.js";
import { section } from "./section.js";

const levels = ["contains", "likely", "may_contain"];
const laws = ["jp", "eu", "us"];
const signs = { contains: "■", likely: "◧", may_contain: "□" };

export function allergens(dish, session) {
  const stage = dish.stages.allergen;
  const d = data(dish, "allergen");
  const found = d?.allergens ?? [];
  const lang = session.target || null;
  const groups = levels.map((level) => {
    const of = found.filter((a) => a.level === level);
    return of.length > 0 && el("div", { class: `group ${level}` }, el("h3", {}, el("span", { "aria-hidden": "true" }, `${signs[level]} `), t(`card.${level}`)),
      el("ul", { class: "tags" }, of.map((a) => el("li", { class: `tag ${level}` }, allergenName(a.code), from(a, lang)))));
  });
  const listed = section(
    t("card.allergens"),
    stage,
    groups,
    el("div", { class: "group unknown" }, el("h3", {}, el("span", { "aria-hidden": "true" }, "? "), t("card.notknown")),
      found.length === 0 && el("p", {}, el("strong", {}, t("card.none"))),
      found.length > 0 && d.completeness !== "recipe" && el("p", {}, t("card.nameonly")),
      el("p", {}, t("card.rest"))),
    d?.declared_by_restaurant?.length > 0 && el("p", {}, t("card.declared", { text: list(d.declared_by_restaurant.map(shown)) })),
    d?.ask_staff && ask(d.ask_staff, lang),
    d && byLaw(d.by_standard ?? {}),
    d?.disclaimer && el("p", { class: "hint", lang }, d.disclaimer),
  );
  if (answered(stage) && stage.status === "failed") listed.append(el("p", {}, el("strong", {}, t("card.none"))));
  return listed;
}

// from names the ingredient that an allergen comes from, where it says more than the allergen does.
function from(a, lang) {
  const source = shown(a.source_ingredient);
  return source && source !== a.code && source !== allergenName(a.code) && el("span", { class: "from", lang }, ` (${source})`);
}

function ask(sentence, lang) {
  return el("div", { class: "show" }, el("p", { class: "hint" }, t("card.ask")), el("p", { class: "big", lang: "ja" }, sentence.ja), lang !== "ja" && el("p", { lang, dir: "auto" }, sentence.translated));
}

function byLaw(standard) {
  return el("details", { "data-f": "law" }, el("summary", { "data-f": "law-open" }, t("card.law")),
    el("dl", {}, laws.flatMap((law) => [el("dt", {}, t(`card.${law}`)), el("dd", {}, standard[law]?.length > 0 ? list(standard[law].map(lawName)) : t("card.lawnone"))])));
}
