// A section of a card.
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { answered } from "./model.js";

// section leaves out what has no content once the stage has answered, and says so while it has not.
export function section(title, stage, ...content) {
  if (!answered(stage)) content = [el("p", { class: "hint" }, t(stage.status === "retrying" ? "card.retrying" : "card.waiting"))];
  else if (stage.status === "failed") content = [el("p", { class: "hint" }, t("card.failed"))];
  if (content.flat(Infinity).every((child) => !child)) return null;
  return el("section", {}, el("h2", {}, title), content);
}
