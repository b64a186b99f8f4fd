// The picture of an HTML answer that was kept: redacted as it is, in a frame that runs no script, sends no form, reaches
// no other site (the dashboard's own policy holds in it, too) and has an origin of its own.

import { make } from "./dom.js";

export function isPage(answer) {
  if (typeof answer?.body !== "string" || !answer.body.includes("<")) return false;
  const headers = Array.isArray(answer.headers) ? answer.headers : Object.entries(answer.headers ?? {});
  return headers.some(([name, value]) => name.toLowerCase() === "content-type" && value.startsWith("text/html"));
}

export function pictureOf(name, answer) {
  if (!isPage(answer)) return make("p", { className: "hint", textContent: "no page" });
  const frame = make("iframe", { title: `The page of the ${name} side`, className: "picture", tabIndex: 0 });
  frame.setAttribute("sandbox", "");
  frame.srcdoc = harmless(answer.body);
  return frame;
}

// Without what the policy would forbid anyway: the console stays silent about it.
function harmless(html) {
  const named = html.replace(/<[a-z][^>]*>/gi, (tag) => tag.replace(/\s(style|on\w+)(?=\s*=)/gi, " data-$1")).replace(/<(\/?)style\b/gi, "<$1template");
  const page = new DOMParser().parseFromString(named, "text/html");
  for (const element of page.querySelectorAll("script, template, noscript, iframe, frame, object, embed, meta[http-equiv], base")) element.remove();
  for (const element of page.querySelectorAll("[src], [href]")) {
    for (const name of ["src", "srcset", "href"]) {
      const value = element.getAttribute(name);
      if (value !== null && element.tagName !== "A" && new URL(value, location.origin).origin !== location.origin) element.removeAttribute(name);
    }
  }
  return `<!doctype html>${page.documentElement.outerHTML}`;
}
