// The differences of one route, in a drawer: grouped by what differs, both answers side by side.

import * as api from "./api.js";
import { make, milliseconds, plural, setText } from "./dom.js";

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
      const { differences } = await api.differences(route);
      if (this.route === route) this.#show(...this.#groups(differences));
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
    return make("details", { className: "card group", open }, title, ...group.examples.map((example) => this.#example(example)));
  }

  #example(example) {
    const { request } = example;
    const said = [request?.method, request?.path].filter(Boolean).join(" ") + (request?.query ? `?${request.query}` : "");
    const when = example.at ? new Date(example.at).toLocaleString() : "";
    const id = example.request_id ? `request ${example.request_id}` : "";
    return make("article", {},
      make("p", { className: "asked mono", textContent: said }),
      make("p", { className: "hint", textContent: [when, id].filter(Boolean).join(" · ") }),
      make("ul", { className: "reasons" }, ...(example.reasons ?? []).map((reason) => make("li", { textContent: reason }))),
      make("div", { className: "sides" }, this.#side("native", example.native), this.#side("legacy", example.legacy)));
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
