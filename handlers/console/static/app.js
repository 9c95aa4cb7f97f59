// The page: a form that submits a menu, or, at /?session=…, that session as it happens.
import { follow } from "/client.js";
import { card } from "./card.js";
import { el, put, replace, shown } from "./dom.js";
import { DishList, legend } from "./list.js";
import { Session, stages } from "./model.js";
import { format, parse } from "./parse.js";

const $ = (id) => document.getElementById(id);

const languages = [["ja", "Japanese"], ["en", "English"], ["zh-Hans", "Chinese (simplified)"], ["zh-Hant", "Chinese (traditional)"], ["ko", "Korean"],
  ["fr", "French"], ["de", "German"], ["es", "Spanish"], ["it", "Italian"]];

const samples = [["izakaya", "大衆酒場 まる福 – izakaya"], ["soba", "手打ち蕎麦 むらさき庵 – soba"], ["grill", "The Harbour Grill – English"]];

// The credentials, where the server wants any: the token in a session's address opens that session; the API key that was
// entered here, for as long as the tab is open, does the rest.
const token = new URLSearchParams(location.search).get("token");
const keyName = "kondate.key";

function storedKey() {
  try {
    return sessionStorage.getItem(keyName);
  } catch {
    return null; // a browser without storage
  }
}

function storeKey(key) {
  try {
    if (key) sessionStorage.setItem(keyName, key);
    else sessionStorage.removeItem(keyName);
  } catch {
    // then it is asked for again
  }
}

// withCredentials adds what a request needs. A token wins where it can: its session may be another tenant's than the key.
function withCredentials(url, { headers = {}, ...options } = {}) {
  const key = storedKey();
  if (token && !options.method) url += `${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
  else if (key) headers = { ...headers, Authorization: `Bearer ${key}` };
  return [url, { ...options, headers }];
}

// compose shows the form.
function compose() {
  $("compose").hidden = false;
  for (const [code, name] of languages) {
    put($("source"), el("option", { value: code, selected: code === "ja" }, name));
    put($("target"), el("option", { value: code, selected: code === "en" }, name));
  }
  for (const [file, name] of samples) put($("sample"), el("option", { value: file }, name));

  let sample = { text: "", menu: null }; // submitted as it is while nobody changes its text
  let attempt = { body: "", key: "" }; // a repeat of the same menu is the same submission

  const read = () => ($("text").value === sample.text && sample.menu) || parse($("text").value);

  const count = () => {
    let n = 0;
    try {
      n = read().items?.length ?? 0;
    } catch {
      // JSON in the making
    }
    $("count").textContent = n > 0 ? `${n} ${n === 1 ? "dish" : "dishes"}` : "";
  };
  $("text").addEventListener("input", count);
  $("sample").addEventListener("change", async () => {
    if (!$("sample").value) return;
    try {
      const menu = await call(`/console/samples/${$("sample").value}.json`);
      const { source_language: source, target_language: target, ...rest } = menu;
      $("source").value = source;
      $("target").value = target;
      $("text").value = format(menu);
      sample = { text: $("text").value, menu: rest };
      count();
    } catch (failure) {
      complain(failure);
    }
  });
  $("compose").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("problem").hidden = true;
    $("send").disabled = true;
    if ($("key").value.trim()) storeKey($("key").value.trim());
    try {
      const body = JSON.stringify({ source_language: $("source").value, target_language: $("target").value, ...read() });
      if (body !== attempt.body) attempt = { body, key: randomKey() };
      const accepted = await call("/v1/sessions", { method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": attempt.key }, body });
      const opens = new URL(accepted.stream_url, location.href).searchParams.get("token");
      location.assign(`/?session=${encodeURIComponent(accepted.session_id)}${opens ? `&token=${encodeURIComponent(opens)}` : ""}`);
    } catch (failure) {
      if (failure.status === 401 || failure.status === 403) {
        storeKey(null);
        $("key-row").hidden = false;
        $("key").focus();
      }
      complain(failure);
    } finally {
      $("send").disabled = false;
    }
  });
}

// complain shows why the menu was not taken, and the lines that are wrong.
function complain(failure) {
  const fields = failure.problem?.errors ?? [];
  replace(
    $("problem"),
    el("p", {}, el("strong", {}, failure.problem?.title ?? (failure instanceof SyntaxError ? "The JSON cannot be read" : "The server cannot be reached"))),
    fields.length === 0 && el("p", {}, failure.problem?.detail ?? failure.message),
    fields.length > 0 && el("ul", {}, fields.map((f) => el("li", {}, `${f.field.replace(/^items\[(\d+)\]\.?/u, (_, i) => `Dish ${Number(i) + 1}, `)} ${f.problem}`))),
  );
  $("problem").hidden = false;
}

// randomKey also works where the page has no secure context, and crypto no randomUUID.
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// call returns the JSON that the server answers with, or throws an Error with the problem that it reports.
async function call(url, options) {
  const response = await fetch(...withCredentials(url, options));
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const failure = new Error(`the server answered ${response.status}`);
  failure.problem = body;
  failure.status = response.status;
  throw failure;
}

// watch shows a session, from its first event on.
function watch(id) {
  const path = `/v1/sessions/${encodeURIComponent(id)}`;
  const session = new Session();
  const changed = new Set();
  let connection = "connecting";
  let open = null; // the dish whose card is open
  let drawing = false;

  $("session").hidden = false;
  legend($("legend"));

  const retry = async (stage) => {
    try {
      await call(`/v1/menus/${encodeURIComponent(open)}/stages/${stage}/retry`, { method: "POST" });
      if (connection === "ended") start(); // a session that has ended goes on
    } catch (failure) {
      connection = `The retry was refused: ${failure.problem?.detail ?? failure.message}`;
      draw();
    }
  };
  const showCard = () => card($("card"), session.dishes.get(open), session, retry);
  const list = new DishList($("dishes"), (dish) => {
    open = dish;
    showCard();
    $("card").showModal();
  });
  $("card").addEventListener("close", () => {
    open = null;
  });
  $("card").addEventListener("click", (event) => {
    if (event.target === $("card")) $("card").close(); // beside the card
  });

  // draw brings the page up to date once a frame, however many events came.
  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      list.show(session);
      for (const id of changed) {
        const dish = session.dishes.get(id);
        if (dish) list.update(dish);
      }
      if (open && !session.dishes.has(open)) $("card").close();
      else if (open && changed.has(open)) showCard();
      changed.clear();
      const all = session.itemCount * stages.length;
      const title = shown(session.title) || "Menu";
      if ($("session-title").textContent !== title) {
        $("session-title").textContent = title;
        $("session-title").lang = session.source;
        document.title = `${title} – Kondate`;
      }
      $("progress").max = all || 1;
      $("progress").value = session.answers;
      $("numbers").textContent = all > 0 ? `${session.itemCount} dishes, ${session.answers} of ${all} answers` : "";
      const text = stateText(session, connection);
      if ($("state").textContent !== text) $("state").textContent = text; // only news is read aloud
    });
  }

  // rows shows the session as the tables have it, where the stream cannot tell its beginning any more.
  async function rows() {
    try {
      const [row, { menus }] = await Promise.all([call(path), call(`${path}/menus`)]);
      session.fromRows(row, menus);
      for (const dish of session.dishes.keys()) changed.add(dish);
    } catch (failure) {
      connection = `The session cannot be shown: ${failure.problem?.detail ?? failure.message}`;
    }
    draw();
  }

  let stop = () => {};
  function start() {
    stop();
    const [url, { headers }] = withCredentials(`${path}/events`);
    stop = follow(url, {
      headers,
      event(type, event) {
        // A type with a dot is an event of the log; the others are the stream's own.
        if (type === "reset") {
          session.clear();
          rows();
        } else if (type.includes(".")) {
          for (const dish of session.apply(event)) changed.add(dish);
        }
        draw();
      },
      state(state, detail) {
        connection = state;
        if (state === "failed" && /\b404$/u.test(detail.error.message)) connection = "missing";
        if (state === "failed" && /\b401$/u.test(detail.error.message)) connection = "locked";
        if (state === "failed" && /\b410$/u.test(detail.error.message)) {
          connection = "ended";
          rows();
        }
        draw();
      },
    });
  }
  draw();
  start();
}

function stateText(session, connection) {
  if (connection === "missing") return "There is no such session on this server.";
  if (connection === "locked") return token ? "This link has expired. Ask for a new one whoever sent it." : "This session opens with the link that its sender has.";
  switch (session.status) {
    case "erased":
      return "This session was erased.";
    case "completed": {
      const after = session.durationMS > 0 ? ` after ${(session.durationMS / 1000).toFixed(1)} seconds` : "";
      return session.failures > 0 ? `Done${after}, but ${session.failures} answers could not be found: open the dishes marked with !` : `Every answer is there${after}.`;
    }
    case "expired":
      return "This session was given up before every answer was there.";
    default:
  }
  switch (connection) {
    case "connecting":
      return "Connecting …";
    case "open":
      return "Working on it; answers appear as they come.";
    case "waiting":
      return "The connection is lost. Trying again; nothing will be missed.";
    case "failed":
      return "The connection is lost, and the server does not answer. Reload the page to go on.";
    case "ended":
      return "The session is not being worked on.";
    default:
      return connection;
  }
}

const session = new URLSearchParams(location.search).get("session");
if (session) watch(session);
else compose();
