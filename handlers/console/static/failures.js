// The answers that failed for good, and their retry: one, or all of them.
import { call, post } from "./api.js";
import { el, replace, shown } from "./dom.js";
import { codeName, stageName, t } from "./i18n.js";
import { write } from "./route.js";

// failures opens the dialog. name(id) is the name of a dish of this session, retried() is called when something is at
// work again, refused(failure) when the server does not allow it.
export function failures(dialog, session, { name, retried, refused }) {
  let every = false;
  const body = el("div", {});
  const status = el("p", { role: "status", class: "hint" });
  const choice = (value, label) => {
    const input = el("input", { type: "radio", name: "which", checked: value === every, change: () => { every = value; load(); } });
    return el("label", {}, input, " ", t(label));
  };
  replace(
    dialog,
    el("header", {}, el("h2", { id: "failures-title", tabindex: -1 }, t("failures.title")), el("button", { type: "button", class: "plain", "aria-label": t("close"), click: () => dialog.close() }, "✕")),
    el("fieldset", { class: "which" }, el("legend", { class: "unseen" }, t("failures.title")), choice(false, "failures.this"), choice(true, "failures.every")),
    status,
    body,
  );

  let turn = 0; // of the last request, whose answer counts
  async function load() {
    const mine = ++turn;
    status.textContent = t("failures.loading");
    replace(body);
    try {
      const found = await call(every ? "/v1/failures?limit=200" : `/v1/failures?limit=200&session=${encodeURIComponent(session)}`);
      if (mine === turn) draw(found.failures, Boolean(found.next));
    } catch (failure) {
      if (mine === turn) report(failure);
    }
  }

  function draw(found, more) {
    status.textContent = found.length === 0 ? t("failures.none") : more ? t("failures.more") : "";
    replace(
      body,
      found.length > 0 && el("p", {}, el("button", { type: "button", class: "main", click: (event) => retry(event, every ? { all: true } : { session_id: session }) }, t("failures.all", { n: more ? "" : found.length }))),
      el("ul", { class: "failures" }, found.map((f) => el(
        "li",
        {},
        el("div", {}, name(f.menu_id) ? el("strong", { dir: "auto" }, name(f.menu_id)) : el("a", { href: write({ session: f.session_id, dish: f.menu_id }) }, f.menu_id), ` · ${stageName(f.stage)}`,
          el("p", { class: "hint" }, `${shown(codeName(f.reason))} · ${t("failures.attempts", { n: f.attempts })} · ${new Date(f.parked_at).toLocaleString(document.documentElement.lang)}`)),
        el("button", { type: "button", "aria-label": `${t("failures.retry")}: ${name(f.menu_id) ?? f.menu_id}, ${stageName(f.stage)}`, click: (event) => retry(event, { menu_id: f.menu_id, stage: f.stage }) }, t("failures.retry")),
      ))),
    );
  }

  async function retry(event, filter) {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      let n = 0;
      for (let after = ""; ;) {
        const answer = await post("/v1/failures/retry", { ...filter, ...(after && { after }) });
        n += answer.retried;
        after = answer.next;
        if (!after) break;
      }
      status.textContent = t("failures.retried", { n });
      if (button.closest("li")) button.closest("li").remove();
      else replace(body);
      dialog.querySelector("h2").focus();
      retried();
    } catch (failure) {
      button.disabled = false;
      report(failure);
    }
  }

  function report(failure) {
    status.textContent = failure.status ? failure.message : t("problem.network");
    if (failure.status === 401 || failure.status === 403) refused(failure);
  }

  dialog.showModal();
  load();
}
