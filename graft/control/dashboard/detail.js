// The route that is looked at: below its row, whether it is safe and what differs. One at a time.

import { make } from "./dom.js";
import { Differences } from "./differences.js";
import { Safety } from "./safety.js";

export class Detail {
  // `moved` is called with the route that is open now, or null.
  constructor({ changed, onError, moved }) {
    this.moved = moved;
    const [safe, differs] = ["safe", "differs"].map((name) => make("section", { className: name }));
    this.safety = new Safety(safe, { changed, onError });
    this.differences = new Differences(differs, onError);
    this.region = make("div", { id: "detail", className: "detail", role: "region" }, safe, differs);
    this.element = make("tr", { className: "below" }, make("td", { colSpan: 7 }, this.region));
    this.row = null;
  }

  open(row, readsOnly) {
    if (this.row === row) return;
    this.row?.expanded(false);
    this.row = row;
    row.element.after(this.element);
    row.expanded(true);
    this.region.setAttribute("aria-label", `${row.route}: is it safe, what differs`);
    this.moved(row.route);
    this.safety.open(row.route, readsOnly);
    this.differences.open(row.route, row.data.different);
  }

  close() {
    if (this.row === null) return;
    this.row.expanded(false);
    this.row = null;
    this.element.remove();
    this.safety.close();
    this.moved(null);
  }

  update(readsOnly) {
    if (this.row === null) return;
    this.safety.lock(readsOnly);
    this.differences.counted(this.row.data.different);
  }
}
