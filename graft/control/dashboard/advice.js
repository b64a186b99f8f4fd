// What next? Of the Flask app's routes those that win most by a native one: asked for while it is open, every half minute.

import * as api from "./api.js";
import { make, milliseconds, percent, plural, setShown, setText } from "./dom.js";

const EVERY_MS = 30_000;
const FIRST = 3;
const SHOWN = 24;
const WORTH_IT = ["waits", "small"];

export class Advice {
  constructor(element, onError) {
    this.element = element;
    this.list = element.querySelector("ol");
    this.text = element.querySelector("p");
    this.more = element.querySelector("button");
    this.onError = onError;
    this.timer = 0;
    this.all = false;
    this.advice = [];
    this.more.addEventListener("click", () => { this.all = !this.all; this.show(this.advice); });
    element.addEventListener("toggle", () => this.refresh());
  }

  async refresh() {
    clearTimeout(this.timer);
    if (!this.element.open || document.hidden) return;
    try {
      this.show((await api.advice()).advice);
    } catch (error) {
      setText(this.text, error.message);
      this.onError(error);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), EVERY_MS);
  }

  close() {
    clearTimeout(this.timer);
  }

  show(advice) {
    this.advice = advice;
    this.list.replaceChildren(...advice.slice(0, this.all ? SHOWN : FIRST).map(line));
    const worth = advice.filter((one) => WORTH_IT.includes(one.verdict)).length;
    setText(this.text, advice.length ? `${worth} of ${plural(advice.length, "route")} would gain. One request of 32 is measured.` : "Nothing to go by yet: no Flask route was asked for.");
    setShown(this.more, advice.length > FIRST);
    setText(this.more, this.all ? "Fewer" : "More");
    this.more.setAttribute("aria-expanded", String(this.all));
  }
}

function line(one) {
  const times = one.waiting_ms === null ? `${milliseconds(one.total_ms)}` : `${milliseconds(one.waiting_ms)} waiting, ${milliseconds(one.cpu_ms)} busy`;
  return make("li", { className: WORTH_IT.includes(one.verdict) ? "worth" : "" },
    make("span", { className: "mono", textContent: one.route }),
    make("span", { className: "hint", textContent: `${plural(one.requests, "request")}, ${times} each${one.saved ? `; a native one saves ${percent(one.saved)} % of all threads' time` : ""}` }),
    make("span", { className: "why", textContent: one.why }));
}
