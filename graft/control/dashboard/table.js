// All routes, in three parts: switched, native only, still legacy; what needs a look first, or by a column.

import { make, plural, setShown, setText } from "./dom.js";
import { RouteRow } from "./route.js";
import { inOrder, startsDown, USUAL } from "./sorting.js";

// A row is made and kept up to date from this far off the screen.
const NEAR = "900px 0px";

const ONLY = [["Route", "route"], ["", null], ["", null], ["Served", "served"], ["Latency p50 / p99", "slow"], ["", null], ["", null]];
const PARTS = [
  { name: "Switched", belongs: (row) => row.switched, heads: [["Route", "route"], ["Share", "share"], ["Mirror", "mirror"], ["Served", "served"], ["Latency p50 / p99", "slow"], ["Parity", "parity"], ["", null]] },
  { name: "Native only", belongs: (row) => !row.switched && row.native !== null, heads: ONLY },
  { name: "Still legacy", belongs: (row) => row.native === null, heads: ONLY },
];

export class RouteTable {
  // `act` has change(route, changes), open(row) and sort(order).
  constructor(place, empty, act) {
    this.place = place;
    this.act = act;
    this.empty = empty;
    this.rows = new Map();
    this.words = [];
    this.onlySwitched = false;
    this.order = USUAL;
    this.heads = [];
    this.watch = new IntersectionObserver((seen) => seen.forEach((each) => this.byElement.get(each.target)?.comes(each.isIntersecting)), { rootMargin: NEAR });
    this.byElement = new WeakMap();
    this.parts = PARTS.map((part) => {
      const body = make("tbody");
      const number = make("span", { className: "number" });
      const table = make("table", {}, make("thead", {}, make("tr", {}, ...part.heads.map((head) => this.#head(...head)))), body);
      const section = make("section", { className: "part", "aria-label": part.name }, make("h2", { textContent: part.name }, number), make("div", { className: "card table" }, table));
      place.append(section);
      return { ...part, body, number, section, rows: [] };
    });
    place.addEventListener("keydown", (event) => this.#walk(event));
  }

  #head(text, column) {
    const head = make("th", { scope: "col" }, column === null ? text : this.#sorter(text, column));
    if (column !== null) this.heads.push([column, head]);
    return head;
  }

  // The first press puts what matters first, the second turns it round, the third gives the usual order back.
  #sorter(text, column) {
    const button = make("button", { type: "button", className: "sorter", textContent: text });
    button.addEventListener("click", () => {
      const [first, second] = startsDown(column) ? [`-${column}`, column] : [column, `-${column}`];
      this.act.sort(this.order === first ? second : this.order === second ? USUAL : first);
    });
    return button;
  }

  // `readsOnly`: a viewer's controls are hidden or stand still.
  update(list, readsOnly) {
    const seen = new Map();
    for (const data of list) {
      const key = `${data.route}\n${data.legacy}`;
      if (!seen.has(key)) seen.set(key, data);
    }
    let changed = false;
    for (const [key, row] of this.rows) {
      const data = seen.get(key);
      if (data !== undefined && row.data.switched === data.switched) continue;
      this.#remove(key, row);
      changed = true;
    }
    for (const [key, data] of seen) {
      const row = this.rows.get(key);
      if (row === undefined) this.#add(key, data), (changed = true);
      else row.update(data);
    }
    for (const row of this.rows.values()) if (row.readsOnly !== readsOnly) row.lock(readsOnly);
    // What is pointed at or has the focus stays where it is.
    this.show(changed || !this.place.matches(":hover, :focus-within"));
  }

  find(route) {
    return [...this.rows.values()].find((row) => row.route === route && row.data.switched);
  }

  narrow(words, onlySwitched) {
    [this.words, this.onlySwitched] = [words, onlySwitched];
    this.show(false);
  }

  sort(order) {
    this.order = order;
    for (const [column, head] of this.heads) {
      if (order === column || order === `-${column}`) head.setAttribute("aria-sort", order === column ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    this.show(true);
  }

  show(ordered) {
    let shown = 0;
    for (const part of this.parts) {
      let here = 0;
      for (const row of part.rows) {
        const fits = this.words.every((word) => row.searched.includes(word)) && (!this.onlySwitched || row.data.switched);
        setShown(row.element, fits);
        here += fits;
      }
      if (ordered) this.#arrange(part);
      setText(part.number, String(here));
      setShown(part.section, here > 0);
      shown += here;
    }
    setShown(this.empty, shown === 0);
    setText(this.empty, this.#whyEmpty());
  }

  #arrange(part) {
    const wanted = inOrder(part.rows, this.order);
    const below = new Map();
    const now = [];
    for (const child of part.body.children) {
      if (this.byElement.has(child)) now.push(child);
      else below.set(now.at(-1), child);
    }
    if (wanted.every((row, index) => row.element === now[index])) return;
    part.body.append(...wanted.flatMap(({ element }) => (below.has(element) ? [element, below.get(element)] : [element])));
  }

  // Up and down go from route to route.
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches("button.path")) return;
    event.preventDefault();
    const paths = [...this.place.querySelectorAll(".route:not([hidden]) button.path")];
    paths[paths.indexOf(event.target) + step]?.focus();
  }

  #whyEmpty() {
    if (this.rows.size === 0) return "The Flask app has no rules, and there are no native routes yet.";
    if (this.words.length) return `None of ${plural(this.rows.size, "route")} fits the filter.`;
    return "No route is switched yet. Write one in the folder of native routes, with the path and method of a Flask rule, and restart.";
  }

  #add(key, data) {
    const row = new RouteRow(data, this.act);
    const part = this.parts.find((each) => each.belongs(data));
    this.rows.set(key, row);
    this.byElement.set(row.element, row);
    part.rows.push(row);
    part.body.append(row.element);
    this.watch.observe(row.element);
  }

  #remove(key, row) {
    if (row.element.classList.contains("open")) this.act.open(row);
    this.watch.unobserve(row.element);
    row.element.remove();
    this.rows.delete(key);
    for (const part of this.parts) part.rows = part.rows.filter((each) => each !== row);
  }
}
