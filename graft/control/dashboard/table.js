// All routes, in three parts: switched, native only, still legacy.

import { make, plural, setShown, setText } from "./dom.js";
import { RouteRow } from "./route.js";

const PARTS = [
  { name: "Switched", belongs: (row) => row.switched, heads: ["Route", "Share", "Mirror", "Served", "Latency p50 / p99", "Parity", ""] },
  { name: "Native only", belongs: (row) => !row.switched && row.native !== null, heads: ["Route", null, null, "Served", "Latency p50 / p99", "", ""] },
  { name: "Still legacy", belongs: (row) => row.native === null, heads: ["Route", null, null, "Served", "Latency p50 / p99", "", ""] },
];

export class RouteTable {
  constructor(place, empty, act) {
    this.act = act;
    this.empty = empty;
    this.rows = new Map();
    this.parts = PARTS.map((part) => {
      const body = make("tbody");
      const number = make("span", { className: "number" });
      const heads = make("tr", {}, ...part.heads.map((head) => make("th", { scope: "col", textContent: head ?? "" })));
      const table = make("table", {}, make("thead", {}, heads), body);
      const section = make("section", { className: "part", "aria-label": part.name }, make("h2", { textContent: part.name }, number), make("div", { className: "card table" }, table));
      place.append(section);
      return { ...part, body, number, section };
    });
  }

  // `readsOnly`: a viewer's controls are hidden or stand still.
  update(list, readsOnly) {
    const seen = new Set();
    for (const data of list) {
      const key = `${data.route}\n${data.legacy}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const row = this.rows.get(key);
      if (row !== undefined && row.data.switched === data.switched) row.update(data);
      else this.#add(key, data);
    }
    for (const [key, row] of this.rows) {
      if (!seen.has(key)) this.#remove(key, row);
      else row.lock(readsOnly);
    }
    this.show();
  }

  show(words = this.words ?? [], onlySwitched = this.onlySwitched ?? false) {
    this.words = words;
    this.onlySwitched = onlySwitched;
    for (const row of this.rows.values()) {
      setShown(row.element, words.every((word) => row.searched.includes(word)) && (!onlySwitched || row.data.switched));
    }
    let shown = 0;
    for (const part of this.parts) {
      const here = [...part.body.children].filter((child) => !child.hidden).length;
      setText(part.number, String(here));
      setShown(part.section, here > 0);
      shown += here;
    }
    setShown(this.empty, shown === 0);
    setText(this.empty, this.#whyEmpty());
  }

  #whyEmpty() {
    if (this.rows.size === 0) return "The Flask app has no rules, and there are no native routes yet.";
    if (this.words.length) return `None of ${plural(this.rows.size, "route")} fits the filter.`;
    return "No route is switched yet. Write one in the folder of native routes, with the path and method of a Flask rule, and restart.";
  }

  #add(key, data) {
    this.rows.get(key)?.element.remove();
    const row = new RouteRow(data, this.act);
    this.rows.set(key, row);
    this.parts.find((part) => part.belongs(data)).body.append(row.element);
  }

  #remove(key, row) {
    row.element.remove();
    this.rows.delete(key);
  }
}
