// The dashboard: logs in, asks for the routes again and again while it is looked at, and passes on what people set.

import * as api from "./api.js";
import { count, make, percent, plural, setShown, setText, setWidth } from "./dom.js";
import { Advice } from "./advice.js";
import { ask } from "./ask.js";
import { Detail } from "./detail.js";
import { isOrder, needsALook, USUAL } from "./sorting.js";
import { RouteTable } from "./table.js";

const EVERY_MS = 1500;
const SLOWEST_MS = 15_000;
const TOAST_MS = 8000;
const MANY = 50;
const WIDE = matchMedia("(min-width: 901px)");

const find = (id) => document.getElementById(id);
const remembered = { get: (name) => { try { return localStorage.getItem(name); } catch { return null; } }, set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* private mode */ } } };

let timer = 0;
let failures = 0;
let round = 0;
let changing = 0;
let readsOnly = true;
let first = true;
let looked = null;

const ended = (error) => error.status === 401 && askForToken();
const detail = new Detail({ changed: () => refresh(), onError: ended, moved: lookAt });
const table = new RouteTable(find("routes"), find("empty"), { change, open: toggle, sort });
const advice = new Advice(find("advice"), ended);

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    // The token must not stay in the address bar or the history.
    history.replaceState(null, "", location.pathname + location.search);
    await logIn(token);
  } else {
    await refresh();
  }
}

async function logIn(token) {
  try {
    await api.login(token);
    setText(find("login-error"), "");
    await refresh("The login did not stick: the browser did not send the cookie back. Does a proxy change the path?");
  } catch (error) {
    askForToken(error.message);
  }
}

function askForToken(reason = "") {
  clearTimeout(timer);
  round += 1;
  const was = looked;
  detail.close();
  first = true;
  lookAt(was);
  advice.close();
  setShown(find("room"), false);
  setShown(find("login"), true);
  setText(find("login-error"), reason);
  find("token").focus();
}

async function refresh(ifRefused = "") {
  clearTimeout(timer);
  const mine = ++round;
  try {
    const answer = await api.routes();
    if (mine !== round) return;
    failures = 0;
    if (changing === 0) show(answer);
    setPulse("live", "live");
  } catch (error) {
    if (mine !== round) return;
    if (error.status === 401) return askForToken(ifRefused);
    failures += 1;
    if (find("room").hidden && find("login").hidden) setShown(find("room"), true);
    setPulse("down", error.status === 429 ? "waiting" : "offline");
    setBanner("offline", `${error.message} The figures below are old. Trying again …`);
  }
  if (!document.hidden) timer = setTimeout(refresh, Math.min(EVERY_MS * 2 ** Math.min(failures, 5), SLOWEST_MS));
}

function show(answer) {
  setShown(find("login"), false);
  setShown(find("room"), true);
  setBanner("offline", "");
  setBanner("problem", answer.problem ? `${answer.problem} The last good state stays in force; a rollback sets the broken file aside.` : "");
  showFleet(answer.fleet);
  const reads = answer.you.role !== "operator";
  readsOnly = reads;
  find("room").classList.toggle("reads-only", reads);
  const fleet = answer.fleet ? ` · fleet ${answer.fleet.name}${answer.fleet.hosts ? `, ${plural(answer.fleet.hosts, "host")}` : ""}` : "";
  setText(find("who"), (reads ? `${answer.you.name}, viewer` : answer.you.name) + fleet);
  showCoverage(answer.coverage);
  showParity(answer.routes);
  showAttention(answer.routes);
  find("rollback-all").disabled = !answer.routes.some((row) => row.switched && row.share > 0);
  table.update(answer.routes, reads);
  detail.update(reads);
  if (first) openFirst();
}

// At the first look the route of the address is open; on a wide screen else the one that most needs a look.
function openFirst() {
  first = false;
  const switched = [...table.rows.values()].filter((row) => row.data.switched);
  const asked = new URLSearchParams(location.search).get("route");
  const row = asked !== null ? table.find(asked) : WIDE.matches ? needsALook(switched.filter((each) => !each.element.hidden)) : undefined;
  if (row) detail.open(row, readsOnly);
  lookAt(asked);
  find("advice").open = WIDE.matches;
  advice.refresh().then(() => { if (row && asked !== null) row.element.scrollIntoView(); });
}

// `stay`: what asks for a part of it does not close it.
function toggle(row, stay = false) {
  if (detail.row === row && !stay) detail.close();
  else detail.open(row, readsOnly);
}

function showFleet(fleet) {
  setBanner("fleet", fleet?.problem ? `${fleet.problem} This host goes on with what it knows, revision ${fleet.revision}.` : "");
  const told = (fleet?.outliers ?? []).map((one) => `${one.host}: ${one.percent} % of its native answers of ${one.route} failed, ${one.others} % of the other hosts'.`);
  setBanner("outliers", told.join(" "));
}

function showCoverage(coverage) {
  for (const name of ["routes", "traffic"]) {
    setText(find(`coverage-${name}`), percent(coverage[name]));
    setWidth(find(`coverage-${name}-bar`), coverage[name]);
  }
  setText(find("coverage-routes-text"), `${count(coverage.native_rules)} of ${plural(coverage.rules, "Flask rule")} all native`);
  setText(find("coverage-traffic-text"), coverage.requests ? `of ${plural(coverage.requests, "request")} to Flask rules` : "no requests to Flask rules yet");
}

function showParity(routes) {
  const sum = (name) => routes.reduce((all, row) => all + row[name], 0);
  const [compared, matched] = [sum("compared"), sum("matched")];
  const share = compared ? Math.floor((10_000 * matched) / compared) / 100 : null;
  setText(find("parity"), share === null ? "–" : percent(share));
  setWidth(find("parity-bar"), share ?? 0);
  setText(find("parity-text"), compared ? `of ${plural(compared, "compared answer")}` : "nothing compared yet");
}

function showAttention(routes) {
  const tripped = routes.filter((row) => row.tripped).length;
  const different = routes.filter((row) => row.different).length;
  const noted = routes.filter((row) => row.notes.length).length;
  setText(find("attention"), count(tripped + different + noted));
  const parts = [tripped ? `${tripped} tripped` : "", different ? `${different} with differences` : "", noted ? `${noted} with notes` : ""];
  setText(find("attention-text"), parts.filter(Boolean).join(" · ") || "all quiet");
  find("attention").parentElement.classList.toggle("bad", tripped > 0);
}

async function change(before, changes, sure = false) {
  if (!sure && !(await agreed(before, changes.share))) return null;
  changing += 1;
  try {
    const row = await api.change(before.route, changes);
    const undo = Object.fromEntries(Object.keys(changes).map((name) => [name, before[name]]));
    toast([`${row.route}: ${describe(row, changes)}`, row.set_aside].filter(Boolean).join(". "), () => change(row, undo, true));
    return row;
  } catch (error) {
    if (error.status === 401) askForToken("The login has ended.");
    else toast(error.message, null, true);
    return null;
  } finally {
    changing -= 1;
    refresh();
  }
}

// Many users at once, past a step at which they would have been few, are asked about.
async function agreed(before, share = 0) {
  if (share < MANY || !before.ladder.some((rung) => before.share < rung && rung < share)) return true;
  const proof = before.compared ? `${plural(before.compared, "answer")} compared, ${before.different ? `${count(before.different)} of them differ` : "none differs"}.` : "Nothing was compared yet.";
  return ask(find("ask"), {
    title: `From ${percent(before.share)} to ${percent(share)} % at once?`, route: before.route,
    text: `${proof} Promotion goes there step by step, and back at the first closed gate.`, yes: `Set ${percent(share)} %`,
  });
}

const describe = (row, changes) => ("share" in changes ? `share ${percent(row.share)} %` : `mirror ${percent(row.mirror)} %`);

async function rollBackAll() {
  try {
    const { routes, set_aside } = await api.rollBackAll();
    toast([routes.length ? `${plural(routes.length, "route")} rolled back: Flask answers all of it.` : "Nothing was native.", set_aside].filter(Boolean).join(" "));
  } catch (error) {
    toast(error.message, null, true);
  }
  refresh();
}

function setPulse(kind, text) {
  find("pulse").className = `pulse ${kind}`;
  setText(find("pulse").querySelector(".text"), text);
}

function setBanner(name, text) {
  let banner = find(`banner-${name}`);
  if (!text) return banner?.remove();
  if (banner === null) {
    banner = make("p", { id: `banner-${name}`, className: "banner bad" });
    find("banners").append(banner);
  }
  setText(banner, text);
}

function toast(text, undo = null, bad = false) {
  const element = make("div", { className: bad ? "toast bad" : "toast" }, make("span", { textContent: text }));
  if (undo) {
    const button = make("button", { type: "button", className: "link", textContent: "Undo" });
    button.addEventListener("click", () => { element.remove(); undo(); });
    element.append(button);
  }
  find("toasts").replaceChildren(element);
  setTimeout(() => element.remove(), TOAST_MS);
}

function lookAt(route) {
  looked = route;
  showAddress();
}

function sort(order) {
  find("order").value = order;
  table.sort(order);
  showAddress();
}

function narrow() {
  remembered.set("graft-only-switched", String(find("only-switched").checked));
  table.narrow(find("filter").value.toLowerCase().split(/\s+/).filter(Boolean), find("only-switched").checked);
  showAddress();
}

// Who is sent the address sees the same.
function showAddress() {
  const wanted = new URLSearchParams();
  if (find("filter").value) wanted.set("q", find("filter").value);
  if (find("only-switched").checked) wanted.set("switched", "1");
  if (table.order !== USUAL) wanted.set("sort", table.order);
  if (looked !== null) wanted.set("route", looked);
  history.replaceState(null, "", `${location.pathname}${wanted.size ? `?${wanted}` : ""}${location.hash}`);
}

find("login").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("token");
  logIn(field.value.trim());
  field.value = "";
});
find("logout").addEventListener("click", async () => { await api.logout().catch(() => null); askForToken(); });
find("rollback-all").addEventListener("click", rollBackAll);
find("filter").addEventListener("input", narrow);
find("only-switched").addEventListener("change", narrow);
find("order").addEventListener("change", () => sort(find("order").value));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { clearTimeout(timer); setPulse("paused", "paused"); }
  else if (find("login").hidden) { refresh(); advice.refresh(); detail.safety.wake(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); find("filter").focus(); }
  if (event.key !== "Escape") return;
  if (event.target === find("filter")) { find("filter").value = ""; narrow(); }
  else if (detail.row?.element.contains(event.target) || detail.element.contains(event.target)) { const { path } = detail.row; detail.close(); path.focus(); }
});
addEventListener("hashchange", start);

{
  // An address that somebody sent shows what he saw; else it is as it was last time.
  const asked = new URLSearchParams(location.search);
  find("filter").value = asked.get("q") ?? "";
  find("only-switched").checked = asked.size ? asked.has("switched") : remembered.get("graft-only-switched") === "true";
  looked = asked.get("route") || null;
  if (isOrder(asked.get("sort") ?? "")) sort(asked.get("sort"));
}
narrow();
start();
