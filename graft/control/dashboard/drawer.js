// The differences of one route, in a drawer: grouped by what differs, both answers side by side.

import * as api from "./api.js";
import { make, milliseconds, moment, plural, setText } from "./dom.js";

const MOST_PLACES = 20;

export class Drawer {
  constructor(dialog, onError) {
    this.dialog = dialog;
    this.onError = onError;
    this.body = dialog.querySelector("#drawer-body");
    dialog.querySelector("#drawer-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  async open(route) {
    this.route = route;
    setText(this.dialog.querySelector("#drawer-route"), route);
    this.#show(make("p", { className: "empty", textContent: "Loading …" }));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const { differences, noise, untold } = await api.differences(route);
      if (this.route === route) this.#show(...this.#groups(differences), ...this.#noise(noise[route] ?? []), ...this.#untold(untold[route] ?? []));
    } catch (error) {
      this.#show(make("p", { className: "empty error", textContent: error.message }));
      this.onError(error);
    }
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  #show(...children) {
    this.body.replaceChildren(...children);
  }

  #groups(groups) {
    if (!groups.length) {
      return [make("p", { className: "empty", textContent: "No differences are stored: the newest 100 a route are kept while a mirror runs." })];
    }
    return groups.map((group, index) => this.#group(group, index === 0));
  }

  #group(group, open) {
    const title = make("summary", {}, make("span", { className: "what", textContent: group.what }), make("span", { className: "chip", textContent: plural(group.count, "time") }));
    return make("details", { className: "card group", open }, title, ...group.newest.map((example) => this.#example(example)));
  }

  #noise(learned) {
    if (!learned.length) return [];
    return [make("p", { className: "hint", textContent: `Learned to be noise, which does not count: ${learned.join(", ")}` })];
  }

  #untold(places) {
    if (!places.length) return [];
    return [make("p", { className: "hint", textContent: `Not told, as users never repeat a request (resample = 5 in switches.toml tells): ${places.join(", ")}` })];
  }

  #example(example) {
    const { request } = example;
    const facts = [moment(example.at), `answered by ${example.answered_by}`, example.request_id ? `request ${example.request_id}` : ""];
    return make("article", {},
      example.failure ? make("p", { className: "failure mono", textContent: example.failure }) : null,
      make("p", { className: "asked mono", textContent: `${request.method} ${request.url}` }),
      make("p", { className: "hint", textContent: facts.filter(Boolean).join(" · ") }),
      example.note ? make("p", { className: "note", textContent: example.note }) : null,
      example.differences.length ? this.#places(example.differences) : null,
      make("div", { className: "sides" }, this.#side("native", example.native), this.#side("legacy", example.legacy)));
  }

  #places(differences) {
    const value = (told) => (told === null ? make("td", { className: "hint", textContent: "not there" }) : make("td", { className: "mono", textContent: told }));
    const shown = differences.slice(0, MOST_PLACES);
    const rows = shown.map((each) => make("tr", {}, make("th", { scope: "row", className: "mono", textContent: each.where }), value(each.native), value(each.legacy)));
    const heads = make("tr", {}, ...["Where", "Native", "Legacy"].map((head) => make("th", { scope: "col", textContent: head })));
    const table = make("table", { className: "places" }, make("thead", {}, heads), make("tbody", {}, ...rows));
    if (differences.length > shown.length) table.append(make("caption", { className: "hint", textContent: `and ${differences.length - shown.length} more` }));
    return table;
  }

  #side(side, answer) {
    const head = make("h3", {}, make("i", { className: side }), side);
    if (!answer) return make("section", {}, head, make("p", { className: "hint", textContent: "no answer" }));
    head.append(make("span", { className: "numbers", textContent: `${answer.status} · ${milliseconds(answer.latency_ms)}` }));
    const headers = Array.isArray(answer.headers) ? answer.headers : Object.entries(answer.headers ?? {});
    return make("section", {}, head,
      headers.length ? make("pre", { className: "headers", tabIndex: 0, textContent: headers.map(([name, value]) => `${name}: ${value}`).join("\n") }) : null,
      make("pre", { tabIndex: 0, textContent: readable(answer.body) }),
      answer.error ? make("pre", { className: "error", tabIndex: 0, textContent: answer.error }) : null);
  }
}

function readable(body) {
  if (body === null || body === undefined || body === "") return "(empty body)";
  if (typeof body !== "string") return JSON.stringify(body, null, 2);
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
