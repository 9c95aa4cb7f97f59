// The page: what the address names is shown. #/ is the form, #/s/<session> a menu as it happens.
import { key, keepKey } from "./api.js";
import { Compose } from "./compose.js";
import { el, replace } from "./dom.js";
import { choose, language, t } from "./i18n.js";
import * as route from "./route.js";
import { SessionView } from "./session.js";

const $ = (id) => document.getElementById(id);

choose(localStorage.getItem("kondate.language") ?? (navigator.language.startsWith("ja") ? "ja" : "en"));

// translate fills in the texts that stand in index.html.
function translate() {
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  const other = language() === "ja" ? ["en", "English"] : ["ja", "日本語"];
  replace($("language"), el("span", { lang: other[0] }, other[1]));
  $("language").setAttribute("aria-label", `${t("language")}: ${other[1]}`);
  $("key-open").hidden = !key();
}

// askKey asks for the key that the server wants; then() goes on with it.
function askKey(why, then) {
  const input = el("input", { id: "key-input", type: "password", autocomplete: "off", value: key(), required: true });
  const done = (value) => {
    keepKey(value);
    $("key").close();
    translate();
    if (value) then();
  };
  const form = el(
    "form",
    { submit: (event) => { event.preventDefault(); done(input.value.trim()); } },
    el("h2", { id: "key-title" }, t("key.title")),
    why && el("p", { role: "alert" }, why),
    el("div", { class: "field" }, el("label", { for: "key-input" }, t("key.label")), input, el("p", { class: "hint" }, t("key.hint"))),
    el("p", { class: "buttons" }, el("button", { type: "submit", class: "main" }, t("key.save")),
      key() && el("button", { type: "button", click: () => done("") }, t("key.forget")),
      el("button", { type: "button", click: () => $("key").close() }, t("close"))),
  );
  replace($("key"), form);
  if (!$("key").open) $("key").showModal();
  input.focus();
}

const go = (place) => { location.hash = route.write(place); };

const compose = new Compose($("compose"), { go, askKey });
let view = null;

function show() {
  const place = route.read(location.hash);
  if (view && view.id !== place.session) {
    view.close();
    view = null;
  }
  if (!place.session) {
    document.title = "Kondate";
    $("session").hidden = true;
    compose.show();
    return;
  }
  compose.hide();
  $("session").hidden = false;
  view ??= new SessionView(place.session, place.token, { go, askKey });
  view.openDish(place.dish);
}

$("language").addEventListener("click", () => {
  choose(language() === "ja" ? "en" : "ja");
  localStorage.setItem("kondate.language", language());
  translate();
  compose.translate();
  view?.translate();
});
$("key-open").addEventListener("click", () => askKey("", () => view?.again()));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is taken by what is shown
  $("main").focus();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
}
window.addEventListener("hashchange", show);

const old = new URLSearchParams(location.search).get("session"); // an address of former times
if (old) history.replaceState(null, "", `/${route.write({ session: old })}`);
translate();
show();
