// Signing in: the key goes to us once, for a cookie that no script can read.

import { enter, takeKey } from "/web/session.js";

const form = document.getElementById("form"), key = document.getElementById("key"), button = document.getElementById("enter"), said = document.getElementById("said");

async function signIn(text) {
  button.disabled = true;
  said.textContent = "";
  const why = await enter(text);
  if (why === null) location.reload(); // the same address, now with the page; what is chosen in it stays
  said.textContent = why ?? "";
  button.disabled = why === null;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(key.value.trim());
  key.value = "";
});

const given = takeKey();
if (given) signIn(given);
