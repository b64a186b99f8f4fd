// Is it safe? Where one route stands on the ladder: its gates with their figures, how long the next step takes, the
// gateway's climb, a hold, and who changed what.

import * as api from "./api.js";
import { make, moment, percent, setShown, setText } from "./dom.js";

const EVERY_MS = 2000;
const EVENTS = 20;

export class Safety {
  // `changed` is called after each change, `onError` with what was refused.
  constructor(place, { changed, onError }) {
    this.changed = changed;
    this.onError = onError;
    this.stands = make("p", { className: "stands" });
    this.waits = make("p", { className: "hint waits" });
    this.problem = make("p", { className: "error", role: "alert" });
    this.gates = make("tbody");
    this.sure = make("p", { className: "hint" });
    this.events = make("tbody");
    place.append(
      make("h3", { textContent: "Is it safe?" }), this.stands, this.waits, this.problem, this.#controls(),
      table("Gates", ["Gate", "", "Figure", "Wanted"], this.gates), this.sure,
      make("h3", { textContent: "Who changed what" }), table("History", ["When", "What", "By", "Why"], this.events));
  }

  open(route, readsOnly) {
    this.route = route;
    for (const part of [this.stands, this.waits, this.problem, this.sure]) setText(part, "");
    this.gates.replaceChildren();
    this.events.replaceChildren();
    this.lock(readsOnly);
    this.#ask(null);
    return this.#refresh();
  }

  close() {
    clearTimeout(this.timer);
    this.route = null;
  }

  lock(readsOnly) {
    setShown(this.controls, !readsOnly);
  }

  #controls() {
    this.start = button("Promote …", "primary", () => this.#ask("start"));
    this.step = button("", "", () => this.#do(() => api.promote(this.route, "step")));
    this.stop = button("Stop the climb", "", () => this.#do(() => api.promote(this.route, "stop")));
    this.hold = button("Hold …", "danger", () => this.#ask("hold"));
    this.release = button("Release", "", () => this.#do(() => api.change(this.route, { hold: null })));
    this.means = make("p", { className: "hint", textContent: "The gateway then raises the share by itself, rung by rung, as the gates open; at a closed gate it gives the route back to Flask. Whoever sets the share ends it." });
    this.why = make("input", { type: "text", maxLength: 500, "aria-label": "Why", autocomplete: "off" });
    this.yes = button("", "primary", () => this.#answer());
    this.no = button("Cancel", "quiet", () => this.#ask(null));
    this.question = make("form", { className: "question" }, this.means, make("div", { className: "buttons" }, this.why, this.yes, this.no));
    this.question.addEventListener("submit", (event) => { event.preventDefault(); this.#answer(); });
    this.controls = make("div", { className: "promotion-controls" }, make("div", { className: "buttons" }, this.start, this.step, this.stop, this.hold, this.release), this.question);
    return this.controls;
  }

  // Asks before a climb starts, and for the reason of a hold.
  #ask(what) {
    this.asked = what;
    setShown(this.question, what !== null);
    setShown(this.means, what === "start");
    setText(this.yes, what === "hold" ? "Hold at share 0" : "Start the climb");
    this.why.value = "";
    this.why.placeholder = what === "hold" ? "Why" : "Why (may be empty)";
    if (what !== null) this.why.focus();
  }

  #answer() {
    const why = this.why.value.trim();
    if (this.asked === "hold" && !why) return this.why.focus();
    if (this.asked === "hold") return this.#do(() => api.change(this.route, { hold: why }));
    return this.#do(() => api.promote(this.route, "start", why));
  }

  async #do(operation) {
    try {
      await operation();
      this.#ask(null);
      setText(this.problem, "");
    } catch (error) {
      setText(this.problem, error.message);
      this.onError(error);
    }
    this.changed();
    await this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.timer);
    const route = this.route;
    if (route === null) return;
    try {
      const [standing, { history }] = await Promise.all([api.promotion(route), api.history(route, EVENTS)]);
      if (this.route !== route) return;
      this.#show(standing);
      this.#tell(history);
    } catch (error) {
      if (this.route !== route) return;
      setText(this.problem, error.message);
      this.onError(error);
    }
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.#refresh(), EVERY_MS);
  }

  // A page that was hidden asks again when it is looked at.
  wake() {
    if (this.route) this.#refresh();
  }

  #tell(history) {
    const said = JSON.stringify(history);
    if (this.events.dataset.said === said && this.events.childElementCount) return;
    this.events.dataset.said = said;
    this.events.replaceChildren(...history.map(eventRow));
    if (!history.length) this.events.append(make("tr", {}, make("td", { className: "hint", colSpan: 4, textContent: "Nothing was changed yet." })));
  }

  #show(standing) {
    const { climb, hold, share, mirror } = standing;
    const who = climb ? `climbs, for ${climb.by}` : hold !== null ? `held: ${hold}` : ended(standing.ended);
    setText(this.stands, `Share ${percent(share)} %, mirror ${percent(mirror)} %${who ? ` · ${who}` : ""}`);
    setText(this.waits, `${standing.waits[0].toUpperCase()}${standing.waits.slice(1)}.`);
    this.gates.replaceChildren(...standing.gates.map((gate) => row(gate.gate, make("span", { className: `chip ${gate.verdict.replace(" ", "-")}`, textContent: gate.verdict }), gate.figure, gate.wanted)));
    if (!standing.gates.length) this.gates.append(make("tr", {}, make("td", { className: "hint", colSpan: 4, textContent: "None: the first step switches the mirror on." })));
    setText(this.sure, standing.gates.length ? `Of this rung alone, ${duration(standing.seconds)} old. "Surely" is with ${percent(standing.confidence)} % confidence.` : "");
    setShown(this.start, !climb && hold === null);
    this.start.disabled = share === 100;
    setShown(this.step, !climb && hold === null && standing.step !== null);
    setText(this.step, standing.step === null ? "" : standing.step.share === undefined ? "Switch the mirror on" : `Step to ${percent(standing.step.share)} %`);
    this.step.disabled = standing.waits_for.length > 0;
    this.step.title = this.step.disabled ? "The gates are not open." : "";
    setShown(this.stop, Boolean(climb));
    setShown(this.hold, hold === null);
    setShown(this.release, hold !== null);
  }
}

function ended(end) {
  if (!end) return "";
  return end.operation === "native" ? "the climb reached the top" : `the climb ended: ${end.operation} by ${end.by}${end.why ? `, ${end.why}` : ""}`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const eventRow = (event) => row(moment(event.at), `${event.operation}: ${event.text}`, event.by, event.why ?? "");

const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));

const table = (label, heads, body) => make("div", { className: "scrolls", role: "region", "aria-label": label, tabIndex: 0 }, make("table", { className: "places" }, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col", textContent: head })))), body));

function button(text, className, onClick) {
  const made = make("button", { type: "button", className, textContent: text });
  made.addEventListener("click", onClick);
  return made;
}
