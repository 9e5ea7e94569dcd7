// The line to the server: token, calls, and the two sockets that come back by themselves.

const KEY = "puppet-token";

// The token comes behind the '#', which no server sees; it is kept for this tab only.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export function setToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

const headers = () => ({ Authorization: `Bearer ${sessionStorage.getItem(KEY)}` });

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  if (response.ok) return response;
  let why = `The server answered ${response.status}.`;
  try {
    why = (await response.json()).detail ?? why;
  } catch { /* no JSON: keep the number */ }
  throw new Refused(response.status, why);
}

export async function get(path) {
  return (await answer(await fetch(path, { headers: headers() }))).json();
}

export async function getBlob(path) {
  return (await answer(await fetch(path, { headers: headers() }))).blob();
}

export async function send(path, body = {}, method = "POST") {
  const asIs = body instanceof Blob;
  const type = asIs ? body.type || "application/octet-stream" : "application/json";
  const response = await fetch(path, {
    method,
    headers: { ...headers(), "Content-Type": type },
    body: asIs ? body : JSON.stringify(body),
  });
  return (await answer(response)).json();
}

// A socket that is opened again when it is lost. `on` has open, message, lost.
export function keepSocket(path, on) {
  let wait = 500;
  const open = () => {
    const socket = new WebSocket(`ws://${location.host}${path}`, [
      "puppet", `token.${sessionStorage.getItem(KEY)}`,
    ]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { wait = 500; on.open?.(socket); };
    socket.onmessage = (event) => on.message(event.data, socket);
    socket.onclose = () => {
      on.lost?.();
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 8000);
    };
  };
  open();
}
