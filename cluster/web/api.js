// The API as the views ask it: errors are problems (RFC 9457) in words, ETags are kept, and who is not signed in is asked to sign in.

const TAGS_MAX = 200; // newest answers whose ETag is kept
const TIMEOUT_MS = 20_000;
const tags = new Map(); // path → ETag

/** An answer other than success. `absent`: this server has no such route. */
export class ApiError extends Error {
  constructor(path, status, body) {
    super(body?.detail ?? `status ${status}`);
    this.path = path;
    this.status = status;
    this.body = body ?? {};
    this.absent = (status === 404 && (!body || body.detail === "Not Found")) || status === 405;
  }
}

const MEANINGS = {
  0: "The server does not answer",
  401: "You are not signed in",
  403: "Your role does not allow this",
  404: "It is not there",
  412: "Somebody changed it meanwhile, so nothing was done. What is shown now is how it stands",
  422: "This cannot be accepted as it is",
  429: "Too many requests: wait a moment",
  503: "A part that the answer needs does not answer",
};

const CHANGED = "It has changed since you saw it, so nothing was done. What is shown now is how it stands"; // the plan is another one

/** What went wrong, in words that say what to do. */
export function explain(error) {
  if (!(error instanceof ApiError)) return `The page failed: ${error.message}`;
  if (error.absent) return `This server has no ${error.path.split("?")[0]}: its release is older than this page, or the part is not switched on.`;
  const meaning = error.status === 409 && error.body.plan ? CHANGED : MEANINGS[error.status];
  return meaning ? `${meaning}: ${error.message}` : error.message;
}

const AGAIN_MS = 15_000;

/** The session is over: the server sends the page to sign in at this very address. Not again and again, if it does not. */
function signIn() {
  const last = Number(sessionStorage.getItem("chipquality.signin") ?? 0);
  if (Date.now() - last < AGAIN_MS) return;
  sessionStorage.setItem("chipquality.signin", String(Date.now()));
  location.reload();
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new ApiError(path, 0, { detail: error.name === "TimeoutError" ? `nothing within ${TIMEOUT_MS / 1000} s` : "is it running, and is the network up?" });
  }
  const body = (response.headers.get("content-type") ?? "").includes("json") ? await response.json() : null;
  if (response.ok) return { response, body };
  if (response.status === 401) signIn();
  throw new ApiError(path, response.status, body);
}

function keep(path, response) {
  const tag = response.headers.get("etag");
  tags.delete(path);
  if (tag) tags.set(path, tag);
  if (tags.size > TAGS_MAX) tags.delete(tags.keys().next().value);
}

/** GET: the body. Raises ApiError. */
export async function get(path) {
  const { response, body } = await ask(path, { headers: { Accept: "application/json" } });
  keep(path, response);
  return body;
}

/** The ETag of what was last got from a path: keep it beside what is shown, and send it with what is done about that. */
export const tagOf = (path) => tags.get(path) ?? null;

/**
 * Change something: the body of the answer, with `location` where it names an operation. Raises ApiError.
 * `match`: the ETag that must still hold; `once`: a key under which the server does it once only.
 */
export async function send(method, path, body, { match, once } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (match) headers["If-Match"] = match;
  if (once) headers["Idempotency-Key"] = once;
  const { response, body: said } = await ask(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  return Object.assign(said ?? {}, response.headers.has("location") ? { location: response.headers.get("location") } : {});
}

/** A key under which something is done once only (`once` of send). */
export const onceKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A path with parameters; those that are empty are left out, and lists are given once for each. */
export function path(base, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== undefined && one !== "") query.append(name, one);
  }
  return query.size ? `${base}?${query}` : base;
}

/** All items of a list, at most `pages_max` pages of it; `more`: there are others. */
export async function all(base, parameters, pagesMax) {
  const items = [];
  let cursor = null, total = null;
  for (let page = 0; page < pagesMax; page += 1) {
    const found = await get(path(base, { ...parameters, cursor }));
    items.push(...found.items);
    total = found.total ?? total;
    cursor = found.next;
    if (!cursor) break;
  }
  return { items, total: total ?? items.length, more: Boolean(cursor) };
}

export const seriesPath = (series) => `/charts/${encodeURIComponent(series)}`;
