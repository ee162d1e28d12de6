// The session of the page: the key in the address that `make demo` prints, who is signed in, and its end.

const LOOK_MS = 30_000;

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

/** Sign out, everywhere that this session is open. */
export async function leave() {
  await fetch("/session", { method: "DELETE" });
  location.reload();
}

/** Return who is signed in; null: nobody any more. Throws where there is no answer. */
export async function whoAmI() {
  const answer = await fetch("/session");
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}

/** On the page itself: take a key from the address, say who is signed in, and show the sign-in page when the session is over. */
async function keep() {
  const footer = document.querySelector("footer");
  if (!footer) return; // the sign-in page
  const key = takeKey();
  if (key && (await enter(key)) === null) return location.reload();
  const said = document.createElement("span"), out = document.createElement("button");
  said.id = "who";
  out.type = "button";
  out.textContent = "sign out";
  out.addEventListener("click", leave);
  const look = async () => {
    try {
      const who = await whoAmI();
      if (who === null) return location.reload();
      said.textContent = ` · ${who.name} (${who.role}) `;
      out.hidden = who.method !== "SESSION";
    } catch {
      said.textContent = " · no answer ";
    }
  };
  footer.append(said, out);
  await look();
  setInterval(look, LOOK_MS);
}

keep();
