// What differs on one route: grouped, the newest first, both answers side by side, as text or as the page they are.

import * as api from "./api.js";
import { make, milliseconds, moment, plural, setShown, setText } from "./dom.js";
import { isPage, pictureOf } from "./picture.js";

const MOST_PLACES = 20;

export class Differences {
  constructor(place, onError) {
    this.place = place;
    this.onError = onError;
    this.body = make("div", { className: "groups" });
    this.newer = make("button", { type: "button", className: "small", textContent: "Show the newer ones" });
    this.newer.addEventListener("click", () => this.open(this.route, this.now));
    place.append(make("div", { className: "titled" }, make("h3", { textContent: "What differs?" }), this.newer), this.body);
  }

  // `number` of differences were counted by now.
  async open(route, number) {
    if (this.route !== route) this.#show(make("p", { className: "hint", textContent: "Loading …" }));
    this.route = route;
    this.told = this.now = number;
    setShown(this.newer, false);
    try {
      const { differences, noise, untold } = await api.differences(route);
      if (this.route === route) this.#show(...this.#groups(differences), ...this.#noise(noise[route] ?? []), ...this.#untold(untold[route] ?? []));
    } catch (error) {
      if (this.route === route) this.#show(make("p", { className: "error", textContent: error.message }));
      this.onError(error);
    }
  }

  // What somebody reads stays as it is until he asks for the newer ones.
  counted(number) {
    this.now = number;
    setShown(this.newer, number !== this.told);
  }

  #show(...children) {
    this.body.replaceChildren(...children);
  }

  #groups(groups) {
    if (!groups.length) {
      return [make("p", { className: "hint", textContent: "No differences are stored: the newest 100 a route are kept while a mirror runs." })];
    }
    const newest = (group) => group.newest[0]?.at ?? "";
    return [...groups].sort((one, other) => newest(other).localeCompare(newest(one))).map((group, index) => this.#group(group, index === 0));
  }

  #group(group, open) {
    const when = group.newest.length ? moment(group.newest[0].at) : "";
    const title = make("summary", {}, make("span", { className: "what", textContent: group.newest[0]?.failure ?? group.what }), make("span", { className: "hint", textContent: when }), make("span", { className: "chip", textContent: plural(group.count, "time") }));
    return make("details", { className: "group", open }, title, ...group.newest.map((example) => this.#example(example)));
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
    const sides = make("div", { className: "sides" }, side("native", example.native), side("legacy", example.legacy));
    return make("article", {},
      example.failure ? make("p", { className: "failure mono", textContent: example.failure }) : null,
      make("p", { className: "asked mono", textContent: `${request.method} ${request.url}` }),
      make("p", { className: "hint", textContent: facts.filter(Boolean).join(" · ") }),
      example.note ? make("p", { className: "note", textContent: example.note }) : null,
      example.differences.length ? places(example.differences) : null,
      isPage(example.native) || isPage(example.legacy) ? pictures(example, sides) : null,
      sides);
  }
}

// Both answers as the pages they are, drawn when somebody asks for it.
function pictures(example, sides) {
  let drawn = null;
  const button = make("button", { type: "button", className: "small", textContent: "Show as pages", "aria-pressed": "false" });
  button.addEventListener("click", () => {
    drawn ??= make("div", { className: "sides" }, ...["native", "legacy"].map((name) => make("section", {}, heading(name, example[name]), pictureOf(name, example[name]))));
    const asPages = sides.isConnected;
    (asPages ? sides : drawn).replaceWith(asPages ? drawn : sides);
    button.setAttribute("aria-pressed", String(asPages));
  });
  return button;
}

function places(differences) {
  const value = (told) => (told === null ? make("td", { className: "hint", textContent: "not there" }) : make("td", { className: "mono", textContent: told }));
  const shown = differences.slice(0, MOST_PLACES);
  const rows = shown.map((each) => make("tr", {}, make("th", { scope: "row", className: "mono", textContent: each.where }), value(each.native), value(each.legacy)));
  const heads = make("tr", {}, ...["Where", "Native", "Legacy"].map((head) => make("th", { scope: "col", textContent: head })));
  const table = make("table", { className: "places" }, make("thead", {}, heads), make("tbody", {}, ...rows));
  if (differences.length > shown.length) table.append(make("caption", { className: "hint", textContent: `and ${differences.length - shown.length} more` }));
  return table;
}

function heading(name, answer) {
  const head = make("h4", {}, make("i", { className: name }), name);
  if (answer) head.append(make("span", { className: "numbers", textContent: `${answer.status} · ${milliseconds(answer.latency_ms)}` }));
  return head;
}

function side(name, answer) {
  if (!answer) return make("section", {}, heading(name), make("p", { className: "hint", textContent: "no answer" }));
  const headers = Array.isArray(answer.headers) ? answer.headers : Object.entries(answer.headers ?? {});
  return make("section", {}, heading(name, answer),
    headers.length ? make("pre", { className: "headers", tabIndex: 0, textContent: headers.map(([header, value]) => `${header}: ${value}`).join("\n") }) : null,
    make("pre", { tabIndex: 0, textContent: readable(answer.body) }),
    answer.error ? make("pre", { className: "error", tabIndex: 0, textContent: answer.error }) : null);
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
