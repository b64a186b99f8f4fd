// The JSON API, as functions. Each throws Refused with a sentence for people, or Offline when nobody answers.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Offline extends Error {}

const PATIENCE_MS = 10_000;

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Offline("The gateway does not answer.");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  if (response.status >= 502 && response.status <= 504 && !answer?.error) throw new Offline("The proxy can't reach the gateway.");
  throw new Refused(response.status, answer?.error?.message ?? `The gateway answered ${response.status}.`);
}

export const login = (token) => call("POST", "login", { token });
export const logout = () => call("POST", "logout", {});
export const routes = () => call("GET", "api/routes");
export const advice = () => call("GET", "api/advice");
export const change = (route, changes) => call("PATCH", "api/routes", { route, ...changes });
export const rollBackAll = () => call("POST", "api/rollback", {});
export const promotion = (route) => call("GET", `api/promotion?route=${encodeURIComponent(route)}`);
export const promote = (route, action, why = "") => call("POST", "api/promotion", why ? { route, action, why } : { route, action });
export const history = (route, last) => call("GET", `api/history?route=${encodeURIComponent(route)}&last=${last}`);
export const differences = (route) => call("GET", `api/differences?route=${encodeURIComponent(route)}`);
