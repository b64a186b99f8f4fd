// One route: its row, built once and then only changed, so that nobody loses the focus or a slider under the hand. Its
// name is there from the first; the rest is made when the row comes near the screen, and follows while it is near: of
// thousands of routes, a poll touches those that somebody may see.

import { count, make, milliseconds, moment, percent, plural, setShown, setText, setWidth } from "./dom.js";

const CELLS = 6;

export class RouteRow {
  // `act` has change(route, changes) and open(row).
  constructor(data, act) {
    this.route = data.route;
    this.act = act;
    this.held = this.near = this.readsOnly = false;
    const [method, path] = [data.route.slice(0, data.route.indexOf(" ")), data.route.slice(data.route.indexOf(" ") + 1)];
    this.later = make("td", { className: "cell", colSpan: CELLS });
    this.element = make("tr", { className: "route later", "data-route": data.route });
    this.element.append(this.#name(method, path, data.switched), this.later);
    this.update(data);
  }

  update(data) {
    this.data = data;
    this.searched = `${data.route} ${data.native ?? ""} ${data.legacy ?? ""}`.toLowerCase();
    if (this.near) this.#draw();
  }

  // It came near the screen, or went away from it.
  comes(near) {
    this.near = near;
    if (near) this.#draw();
  }

  #draw() {
    const { data } = this;
    if (this.later !== null) this.#fill(data);
    this.element.classList.toggle("tripped", Boolean(data.tripped));
    this.element.classList.toggle("never", data.never_hit);
    this.#updateName(data);
    this.#updateTraffic(data);
    this.#updateLatency(data);
    if (data.switched) this.#updateControls(data);
  }

  #fill(data) {
    this.later.remove();
    this.later = null;
    this.element.classList.remove("later");
    if (data.switched) this.element.append(this.#share(), this.#mirror(), this.#traffic(), this.#latency(), this.#parity(), this.#actions());
    else this.element.append(this.#only(data), this.#traffic(), this.#latency(), make("td", { className: "cell blank" }), make("td", { className: "cell blank" }));
    this.lock(this.readsOnly);
  }

  expanded(open) {
    this.path.setAttribute("aria-expanded", String(open));
    this.element.classList.toggle("open", open);
  }

  #name(method, path, switched) {
    const text = [make("span", { className: `method ${method.toLowerCase()}`, textContent: method }), ...brokenAtSlashes(path)];
    this.path = switched ? make("button", { type: "button", className: "path", "aria-expanded": "false", "aria-controls": "detail" }, ...text) : make("p", { className: "path" }, ...text);
    if (switched) this.path.addEventListener("click", () => this.act.open(this));
    this.names = make("p", { className: "names" });
    this.notes = make("ul", { className: "notes" });
    this.trip = make("p", { className: "trip" });
    return make("th", { scope: "row", className: "cell name" }, this.path, this.names, this.trip, this.notes);
  }

  #updateName(data) {
    const names = [data.native, data.legacy === null ? null : `Flask:\u00a0${data.legacy}`].filter(Boolean);
    setText(this.names, names.join("\n"));
    setShown(this.trip, Boolean(data.tripped));
    if (data.tripped) {
      const when = data.tripped_at ? ` (${moment(data.tripped_at)})` : "";
      setText(this.trip, `Tripped${when}: ${data.tripped}`);
    }
    const said = data.notes.join("\n");
    if (this.notes.dataset.said !== said) {
      this.notes.dataset.said = said;
      this.notes.replaceChildren(...data.notes.map((note) => make("li", { textContent: note })));
    }
  }

  #share() {
    this.shareText = make("output", { className: "share-figure" });
    this.slider = make("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": `Share of ${this.route}, percent native` });
    this.slider.addEventListener("input", () => {
      this.held = true;
      this.#showShare(Number(this.slider.value));
    });
    this.slider.addEventListener("change", () => this.#set({ share: Number(this.slider.value) }));
    this.ladder = make("div", { className: "ladder", role: "group", "aria-label": `Share of ${this.route}` });
    this.promotion = make("button", { type: "button", className: "link promotion", textContent: "Promotion" });
    this.promotion.addEventListener("click", () => this.act.open(this, true));
    return make("td", { className: "cell share", "data-label": "Share" },
      make("div", { className: "dial" }, this.slider, this.shareText),
      this.ladder, this.promotion);
  }

  // One button for each rung of the route's own ladder.
  #updateLadder({ ladder }) {
    if (this.rungs?.join() === [0, ...ladder].join()) return;
    this.rungs = [0, ...ladder];
    this.steps = this.rungs.map((step) => {
      const button = make("button", { type: "button", textContent: percent(step), "aria-label": `Share ${percent(step)} percent` });
      button.addEventListener("click", () => this.#set({ share: step }));
      return button;
    });
    this.ladder.replaceChildren(...this.steps);
  }

  #mirror() {
    this.toggle = make("input", { type: "checkbox", role: "switch", "aria-label": `Mirror ${this.route}` });
    this.toggle.addEventListener("change", () => this.#set({ mirror: this.toggle.checked ? 100 : 0 }));
    this.mirrorText = make("span", { className: "hint" });
    return make("td", { className: "cell mirror", "data-label": "Mirror" },
      make("label", { className: "switch" }, this.toggle, make("span", { className: "knob" }), this.mirrorText));
  }

  #only(data) {
    const [chip, hint] = data.native !== null
      ? [make("span", { className: "chip native", textContent: "native only" }), "not in the Flask app"]
      : [make("span", { className: "chip legacy", textContent: "legacy" }), "no native route yet"];
    return make("td", { className: "cell only", colSpan: 2 }, chip, make("span", { className: "hint", textContent: hint }));
  }

  #traffic() {
    this.bars = { native: make("i", { className: "native" }), legacy: make("i", { className: "legacy" }), fallback: make("i", { className: "fallback" }) };
    this.served = make("p", { className: "numbers" });
    return make("td", { className: "cell traffic", "data-label": "Served" }, make("div", { className: "track split", "aria-hidden": "true" }, ...Object.values(this.bars)), this.served);
  }

  #updateTraffic({ served, never_hit }) {
    const all = served.native + served.legacy + served.fallback;
    for (const [side, bar] of Object.entries(this.bars)) setWidth(bar, all ? (100 * served[side]) / all : 0);
    const parts = [[served.native, "native"], [served.legacy, "legacy"], [served.fallback, "fallback"]].filter(([number]) => number);
    setText(this.served, never_hit ? "never hit" : parts.map(([number, side]) => `${count(number)}\u00a0${side}`).join(", "));
  }

  #latency() {
    this.times = Object.fromEntries(["native", "legacy"].map((side) => {
      const [p99, p50, text] = [make("i", { className: `p99 ${side}` }), make("i", { className: side }), make("span", { className: "numbers" })];
      const line = make("div", { className: "time" }, make("div", { className: "track", "aria-hidden": "true" }, p99, p50), text);
      return [side, { p99, p50, text, line }];
    }));
    this.untimed = make("p", { className: "numbers", textContent: "–" });
    return make("td", { className: "cell latency", "data-label": "Latency p50 / p99" }, this.times.native.line, this.times.legacy.line, this.untimed);
  }

  #updateLatency({ latency_ms }) {
    const longest = Math.max(latency_ms.native.p99 ?? 0, latency_ms.legacy.p99 ?? 0) || 1;
    for (const [side, parts] of Object.entries(this.times)) {
      const { p50, p99 } = latency_ms[side];
      setShown(parts.line, p50 !== null);
      setWidth(parts.p50, (100 * (p50 ?? 0)) / longest);
      setWidth(parts.p99, (100 * (p99 ?? 0)) / longest);
      setText(parts.text, `${milliseconds(p50)} / ${milliseconds(p99)}`);
      parts.line.title = `${side}: half within ${milliseconds(p50)}, 99 of 100 within ${milliseconds(p99)}`;
    }
    setShown(this.untimed, latency_ms.native.p50 === null && latency_ms.legacy.p50 === null);
  }

  #parity() {
    this.parityText = make("span", { className: "parity-figure" });
    this.parityBar = make("i", { className: "parity" });
    this.compared = make("p", { className: "numbers" });
    this.look = make("button", { type: "button", className: "link" });
    this.look.addEventListener("click", () => this.act.open(this, true));
    return make("td", { className: "cell parity", "data-label": "Parity" },
      make("div", { className: "time" }, make("div", { className: "track", "aria-hidden": "true" }, this.parityBar), this.parityText), this.compared, this.look);
  }

  #actions() {
    this.back = make("button", { type: "button", className: "danger small", textContent: "Roll back", "aria-label": `Roll back ${this.route}` });
    this.back.addEventListener("click", () => this.#set({ share: 0 }));
    return make("td", { className: "cell actions" }, this.back);
  }

  // A viewer sees how it stands; what would be refused can't be touched. The style sheet hides the buttons.
  lock(readsOnly) {
    this.readsOnly = readsOnly;
    if (this.later === null && this.data.switched) this.slider.disabled = this.toggle.disabled = readsOnly;
  }

  #updateControls(data) {
    this.#updateLadder(data);
    if (!this.held) this.#showShare(data.share);
    if (!this.held && document.activeElement !== this.slider) this.slider.value = data.share;
    if (!this.held) this.toggle.checked = data.mirror > 0;
    setText(this.mirrorText, data.mirror > 0 ? `${percent(data.mirror)} %` : "off");
    this.back.disabled = data.share === 0 && data.climb === null;
    setText(this.promotion, data.climb !== null ? "Climbs …" : data.hold !== null ? "Held …" : "Promotion …");
    this.promotion.title = `Promotion and history of ${this.route}`;
    const { parity, compared, failed, skipped, untold } = data.rung;
    setText(this.parityText, parity === null ? "–" : `${percent(parity)} %`);
    setWidth(this.parityBar, parity ?? 0);
    this.parityBar.classList.toggle("poor", parity !== null && parity < 99.5);
    const rest = [failed ? `${count(failed)}\u00a0failed` : "", skipped ? `${count(skipped)}\u00a0skipped` : "", untold ? `${count(untold)}\u00a0not\u00a0told` : ""];
    setText(this.compared, [compared ? `of ${count(compared)} on this rung` : "nothing compared on this rung", ...rest].filter(Boolean).join(", "));
    setText(this.look, data.different ? plural(data.different, "difference") : "");
    setShown(this.look, data.different > 0);
  }

  #showShare(share) {
    setText(this.shareText, `${percent(share)} %`);
    this.slider.style.setProperty("--share", `${share}%`);
    for (const [index, button] of this.steps.entries()) button.setAttribute("aria-pressed", String(this.rungs[index] === share));
  }

  async #set(changes) {
    this.held = true;
    if (changes.share !== undefined) this.#showShare(changes.share), (this.slider.value = changes.share);
    const row = await this.act.change(this.data, changes);
    this.held = false;
    if (row === null) this.slider.value = this.data.share;
    this.update(row ?? this.data);
  }
}

function brokenAtSlashes(path) {
  const parts = path.split(/(?<=\/)/);
  return parts.flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));
}
