// Who is signed in. Where to sign in is a page of its own, which the server sends in place of this one to whom it does not know.

import { ApiError, get, send } from "/web/api.js";
import { byId, element } from "/web/element.js";
import { enter, takeKey } from "/web/session.js";

export const signedIn = { name: "" }; // as the server calls them

/** Sign in with the key of the address, if it has one. */
async function withKey() {
  const key = takeKey();
  return key !== "" && (await enter(key)) === null;
}

/** Say who is signed in, where the server asks for that. */
export async function showWho() {
  try {
    if (await withKey()) return location.reload();
    const who = await get("/session");
    signedIn.name = who.name;
    const out = who.method === undefined || who.method === "SESSION" ? element("button", { type: "button", onclick: async () => {
      await send("DELETE", "/session");
      location.reload();
    } }, "Sign out") : "";
    byId("who").replaceChildren(element("span", {}, `${who.name} (${who.role})`), " ", out);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    byId("who").textContent = error.status === 404 ? "" : error.message; // 404: this server lets everybody in
  }
}
