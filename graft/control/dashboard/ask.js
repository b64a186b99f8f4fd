// A question that stops what was begun: true for yes; false for no, Escape and a page that is left.

import { setText } from "./dom.js";

export function ask(dialog, { title, route, text, yes }) {
  setText(dialog.querySelector("h2"), title);
  setText(dialog.querySelector(".mono"), route);
  setText(dialog.querySelector("p:not(.mono)"), text);
  setText(dialog.querySelector(".primary"), yes);
  dialog.returnValue = "no";
  return new Promise((answered) => {
    dialog.addEventListener("close", () => answered(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
