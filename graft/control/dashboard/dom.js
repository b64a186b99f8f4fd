// Making and changing elements. Text is only ever set as text: what a route or an answer says is never markup.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name.startsWith("data-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setShown(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

export function setWidth(element, percent) {
  const width = `${Math.max(0, Math.min(100, percent)).toFixed(2)}%`;
  if (element.style.width !== width) element.style.width = width;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en");

export const count = (number) => (number < 10_000 ? whole.format(number) : compact.format(number));

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export const percent = (number) => (Number.isInteger(number) ? String(number) : number.toFixed(number < 99.9 && number >= 1 ? 1 : 2));

// A moment where the person is, in the order of ISO 8601 and with its zone: nobody has to guess which day or clock it is.
export function moment(iso) {
  const date = new Date(iso);
  const two = (number) => String(number).padStart(2, "0");
  const east = -date.getTimezoneOffset();
  const zone = `${east < 0 ? "-" : "+"}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`;
}

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 10_000) return `${(number / 1000).toFixed(0)} s`;
  if (number >= 1000) return `${(number / 1000).toFixed(1)} s`;
  return `${number >= 10 ? number.toFixed(0) : number.toFixed(1)} ms`;
}
