// Signing in: the key in the address that `make demo` prints, and asking for a session with it.

/** Take the key out of the address' fragment, where no server and no log sees it; "" if there is none. The rest stays. */
export function takeKey() {
  const parts = new URLSearchParams(location.hash.slice(1)), key = parts.get("key") ?? "";
  if (key) {
    parts.delete("key");
    history.replaceState(null, "", `${location.pathname}${location.search}${parts.size ? `#${parts}` : ""}`);
  }
  return key;
}

/** Sign in; return null, or why not, as a sentence. */
export async function enter(key) {
  try {
    const answer = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key }) });
    return answer.ok ? null : (await answer.json()).detail ?? answer.statusText;
  } catch (error) {
    return `no answer: ${error.message}`;
  }
}
