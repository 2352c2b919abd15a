// The page: send one task, follow it to its end, remember the last ones.
// Whatever comes from outside (server, address bar, storage) reaches the document through textContent alone, so it
// cannot become markup.
import { BADGES, FINAL, HEADLINES, REFUSALS, WELCOME, clock, duration, stepsOf, why } from "./words.js";

const POLL_FIRST_MS = 100; // A quick result is on the screen in well under 300 ms …
const POLL_GROWTH = 1.4;
const POLL_LONGEST_MS = 1000; // … and a slow one costs the server one small read a second.
const POLL_IDLE_MS = 5000; // Nobody looks, or nothing can change before the next attempt.
const TROUBLE_LONGEST_MS = 15000;
const ANSWER_LONGEST_MS = 15000; // The front door gives up after ten seconds.
const REMEMBERED = 6;

const $ = (id) => document.getElementById(id);
const form = $("form");

/** Writes only what changed: a selection survives, and a screen reader hears nothing twice. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function notice(node, text) {
  put(node, text);
  node.hidden = text === "";
}

// ---- Requests and times -----------------------------------------------------------------------------------------

// Times come from the server; the visitor's clock may be minutes off. The `Date` header drops fractions, so the
// largest difference seen is the best one.
let serverAheadMs = -Infinity;
const untilMs = (time) => Date.parse(time) - Date.now() - serverAheadMs;

/** Asks the API; throws when no whole answer arrives. A body that is not JSON (some proxy's page) has no words. */
async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_LONGEST_MS), ...options });
  const text = await response.text();
  serverAheadMs = Math.max(serverAheadMs, (Date.parse(response.headers.get("Date")) || Date.now()) - Date.now());
  const json = response.headers.get("Content-Type")?.startsWith("application/json");
  const retryAfterSeconds = Number(response.headers.get("Retry-After")) || 0;
  return { status: response.status, body: json ? JSON.parse(text) : {}, retryAfterSeconds };
}

// ---- The last tasks ---------------------------------------------------------------------------------------------

const STORE = "steadfast.tasks";
let remembered = [];

function recall() {
  try {
    remembered = JSON.parse(localStorage.getItem(STORE) ?? "[]").filter((entry) => typeof entry.id === "string");
  } catch {
    // Storage is switched off or holds something else: this tab's memory has to do.
  }
  drawRemembered();
}

function remember(entries) {
  remembered = entries.slice(0, REMEMBERED);
  try {
    localStorage.setItem(STORE, JSON.stringify(remembered));
  } catch {
    // Storage is switched off or full: the list lives as long as this tab.
  }
  drawRemembered();
}

function noteStatus(id, status) {
  if (!remembered.some((entry) => entry.id === id && entry.status !== status)) return;
  remember(remembered.map((entry) => (entry.id === id ? { ...entry, status } : entry)));
}

function drawRemembered() {
  $("recent").hidden = remembered.length === 0;
  const rows = remembered.map(({ id, to, at, status }) => {
    const row = $("recent-row").content.cloneNode(true);
    const [link, badge, time] = row.querySelectorAll("a, span, time");
    link.href = `#${id}`;
    put(link, to);
    if (id === watch?.id) link.setAttribute("aria-current", "true");
    badge.dataset.status = status;
    put(badge, BADGES[status] ?? "Under way");
    time.dateTime = at;
    put(time, clock(at));
    return row;
  });
  $("recent-list").replaceChildren(...rows);
}

// ---- Following a task -------------------------------------------------------------------------------------------

let watch = null; // What is on the screen: { id, task, delayMs, failures, timer, asking, missing }

function follow(id, task = null) {
  clearTimeout(watch?.timer);
  watch = { id, task, delayMs: POLL_FIRST_MS, failures: 0, timer: 0, asking: false, missing: false };
  notice($("task-notice"), "");
  draw();
  drawRemembered();
  if (task) schedule(POLL_FIRST_MS);
  else if (/^\w+$/.test(id)) poll();
  else missing(); // Such as "..", which would be another path.
}

function schedule(ms) {
  watch.timer = setTimeout(poll, document.hidden ? Math.max(ms, POLL_IDLE_MS) : ms);
}

async function poll() {
  const mine = watch;
  mine.asking = true;
  // No answer at all is treated like a server in trouble.
  const answer = await ask(`/task_status/${mine.id}`).catch(() => ({ status: 0 }));
  mine.asking = false;
  if (mine !== watch) return; // Another task was opened meanwhile.
  if (answer.status === 200 && answer.body.status in HEADLINES) progress(answer.body);
  else if (answer.status === 404) missing();
  else trouble(answer);
}

function progress(task) {
  watch.task = task;
  watch.failures = 0;
  notice($("task-notice"), "");
  noteStatus(watch.id, task.status);
  draw();
  if (FINAL.includes(task.status)) return;
  watch.delayMs = Math.min(watch.delayMs * POLL_GROWTH, POLL_LONGEST_MS);
  const early = task.status === "retrying" && untilMs(task.next_run_at) > POLL_IDLE_MS;
  schedule(early ? POLL_IDLE_MS : watch.delayMs);
}

function missing() {
  watch.missing = true;
  noteStatus(watch.id, "unknown");
  notice($("task-notice"), "Nothing is known under this address. Check that the link is whole.");
  draw();
}

function trouble({ status, retryAfterSeconds = 0 }) {
  const what = status === 0 ? "The server cannot be reached." : "The server cannot say just now.";
  notice($("task-notice"), `${what} An accepted task is safe there; this page goes on asking.`);
  const pauseMs = Math.min(1000 * 2 ** watch.failures, TROUBLE_LONGEST_MS);
  watch.failures += 1;
  schedule(Math.max(pauseMs, retryAfterSeconds * 1000));
}

/** The tab is looked at again, or the network is back: ask at once. */
function lookAgain() {
  const over = !watch || watch.missing || FINAL.includes(watch.task?.status);
  if (over || watch.asking || document.hidden) return;
  clearTimeout(watch.timer);
  watch.delayMs = POLL_FIRST_MS;
  poll();
}

// ---- Drawing it -------------------------------------------------------------------------------------------------

function draw() {
  const task = watch?.task;
  const without = watch ? (watch.missing ? "No such task" : "Looking it up") : "What will happen";
  const headline = HEADLINES[task?.status] ?? without;
  document.title = watch ? `${headline} · Steadfast` : "Steadfast";
  $("task").dataset.status = task?.status ?? "none";
  put($("task-heading"), headline);
  const steps = task ? stepsOf(task, untilMs) : WELCOME;
  document.querySelectorAll(".steps li").forEach((item, index) => {
    const [state, title, detail] = steps[index];
    item.dataset.state = state;
    item.ariaCurrent = state === "now" || state === "again" ? "step" : null;
    put(item.querySelector("h3"), title);
    put(item.querySelector("p"), detail);
  });
  $("facts").hidden = !task;
  if (!task) return;
  const endMs = task.finished_at ? untilMs(task.finished_at) : 0;
  put($("elapsed"), duration((endMs - untilMs(task.created_at)) / 1000));
  put($("attempts"), String(task.attempts));
  put($("task-link"), watch.id);
  $("task-link").href = `#${watch.id}`;
  // Spoken once a status: numbers that tick are left out.
  put($("announcement"), task.status === "failed" ? `${headline}. ${why(task)}` : headline);
}

// ---- The form ---------------------------------------------------------------------------------------------------

const FIELDS = ["email", "message"];
const KEPT = "What you typed is kept.";
// The key of what was sent last and not answered for good: sent again, it is the same task and not a second one.
let pending = { body: "", key: "" };
let countdown = 0;

function keyFor(body) {
  if (body !== pending.body) {
    // Not randomUUID(), which only pages from https or this machine have.
    const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36).padStart(7, "0"));
    pending = { body, key: key.join("") };
  }
  return pending.key;
}

function fieldError(name, text) {
  put($(`${name}-error`), text);
  form.elements[name].ariaInvalid = text ? "true" : null;
}

/** Says why the button does nothing. Not `disabled`: such a button would lose the keyboard's focus. */
function block(label) {
  put($("send"), label);
  $("send").ariaDisabled = "true";
}

function unblock() {
  clearInterval(countdown);
  countdown = 0;
  put($("send"), "Send");
  $("send").ariaDisabled = null;
}

function blockFor(seconds) {
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left > 0) block(`Send again in ${duration(left)}`);
    else unblock();
  };
  countdown = setInterval(tick, 250);
  tick();
}

async function submit(event) {
  event.preventDefault();
  if ($("send").ariaDisabled) return; // A second click, or Enter, while the first is under way.
  FIELDS.forEach((name) => fieldError(name, ""));
  notice($("form-notice"), "");
  const email = form.elements.email.value.trim();
  const message = form.elements.message.value;
  if (!email) return refused({ body: { fields: [{ field: "email", message: "Enter the address to send to." }] } });
  if (!navigator.onLine) return notice($("form-notice"), `You are offline, so nothing was sent. ${KEPT}`);
  block("Sending …");
  const body = JSON.stringify(message.trim() ? { email, message } : { email });
  const headers = { "Content-Type": "application/json", "Idempotency-Key": keyFor(body) };
  const post = { method: "POST", headers, body };
  const answer = await ask("/notify/", post).catch(() => ({ status: 0 }));
  unblock();
  if (answer.status === 202) accepted(answer.body, email);
  else if (answer.status === 0) lost();
  else refused(answer);
}

function accepted({ task_id: id, status }, email) {
  form.reset();
  pending = { body: "", key: "" };
  const at = new Date(Date.now() + serverAheadMs).toISOString();
  remember([{ id, to: email, at, status }, ...remembered]);
  history.pushState(null, "", `#${id}`);
  follow(id, { status, attempts: 0, created_at: at });
  $("task-heading").focus();
}

function lost() {
  const advice = `Send it again: it will not be sent twice. ${KEPT}`;
  notice($("form-notice"), `The server’s answer was lost, so the task may or may not have been accepted. ${advice}`);
}

function refused({ status, body, retryAfterSeconds = 0 }) {
  const fields = (body.fields ?? []).filter(({ field }) => FIELDS.includes(field));
  fields.forEach(({ field, message }) => fieldError(field, message));
  if (fields.length > 0) return form.querySelector("[aria-invalid]").focus();
  const reason = REFUSALS[body.error] ?? body.message ?? `The server answered ${status}, without a reason.`;
  notice($("form-notice"), `${reason} ${KEPT}`);
  if (retryAfterSeconds > 0) blockFor(retryAfterSeconds);
}

// ---- Start ------------------------------------------------------------------------------------------------------

function openFromAddress() {
  const id = location.hash.slice(1);
  if (id === (watch?.id ?? "")) return;
  if (id) return follow(id);
  clearTimeout(watch.timer);
  watch = null;
  draw();
  drawRemembered();
}

form.addEventListener("submit", submit);
form.addEventListener("input", ({ target }) => {
  fieldError(target.name, "");
  if (countdown) unblock(); // Another address may be welcome at once.
});
$("forget").addEventListener("click", () => {
  remember([]);
  put($("announcement"), "Forgotten");
  form.elements.email.focus();
});
addEventListener("hashchange", openFromAddress);
addEventListener("online", lookAgain);
addEventListener("storage", recall); // Another tab sent a task.
document.addEventListener("visibilitychange", lookAgain);
// Elapsed time and the time to the next attempt move on between two answers.
setInterval(() => {
  if (watch?.task && !FINAL.includes(watch.task.status)) draw();
}, 250);
recall();
draw();
openFromAddress();
