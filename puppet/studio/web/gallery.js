// The avatars: pick one, or drop a picture to make another.

import { get, getBlob, send } from "/link.js";

const $ = (id) => document.getElementById(id);
const tiles = new Map();
let picture = null;
let report = () => {};

export async function startGallery(tell) {
  report = tell;
  $("next").onclick = () => tell(send("/api/avatar/next"));
  watchDrops();
  $("create-cancel").onclick = () => $("create").close();
  $("create-form").onsubmit = create;
  await fill();
}

export function showAvatar(id) {
  for (const [name, tile] of tiles) {
    tile.setAttribute("aria-pressed", String(name === id));
    if (name === id) delete tile.dataset.loading;
  }
}

export function settled() {
  for (const tile of tiles.values()) delete tile.dataset.loading;
}

async function fill() {
  const avatars = await get("/api/avatars");
  $("gallery").replaceChildren(...avatars.map(tileOf), addTile());
}

function tileOf(avatar) {
  const tile = document.createElement("button");
  tile.type = "button";
  tile.className = "tile";
  tile.title = avatar.error ?? [avatar.id, avatar.whose, avatar.consent].filter(Boolean).join(" · ");
  tile.setAttribute("aria-pressed", String(tiles.get(avatar.id)?.ariaPressed === "true"));
  tile.innerHTML = '<span class="blank" aria-hidden="true">☺</span><span class="name"></span>';
  tile.lastChild.textContent = avatar.id;
  tile.disabled = avatar.error !== null;
  tile.onclick = () => {
    if (tile.getAttribute("aria-pressed") === "true") return;
    tile.dataset.loading = "";
    report(send("/api/avatar", { id: avatar.id })).catch(settled);
  };
  tiles.set(avatar.id, tile);
  if (!avatar.error) addThumbnail(tile, avatar.id);
  return tile;
}

async function addThumbnail(tile, id) {
  const url = URL.createObjectURL(await getBlob(`/api/avatars/${encodeURIComponent(id)}/thumbnail`));
  const image = document.createElement("img");
  image.alt = "";
  image.onload = () => URL.revokeObjectURL(url);
  image.src = url;
  tile.firstChild.replaceWith(image);
}

function addTile() {
  const tile = document.createElement("button");
  tile.type = "button";
  tile.className = "tile";
  tile.innerHTML = '<span class="blank" aria-hidden="true">+</span><span class="name">new…</span>';
  tile.onclick = () => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "image/*";
    input.onchange = () => input.files[0] && ask(input.files[0]);
    input.click();
  };
  return tile;
}

function watchDrops() {
  const over = (on) => $("drop").classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const file = event.dataTransfer.files[0];
    if (file) ask(file);
  });
}

export function ask(file) {
  picture = file;
  const url = URL.createObjectURL(file);
  $("create-picture").onload = () => URL.revokeObjectURL(url);
  $("create-picture").src = url;
  const stem = file.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N} ._-]+/gu, " ").trim();
  $("create-name").value = stem.slice(0, 40);
  $("create-face-field").hidden = true;
  say("");
  $("create-go").disabled = false;
  $("create").showModal();
  $("create-name").select();
}

async function create(event) {
  event.preventDefault();
  const form = new FormData($("create-form"));
  const query = new URLSearchParams({
    name: $("create-name").value.trim(),
    consent: form.get("consent"),
    whose: $("create-whose").value.trim(),
  });
  if (!$("create-face-field").hidden) query.set("face", $("create-face").value);
  $("create-go").disabled = true;
  say("sending the picture");
  const sent = picture;
  const wanted = () => $("create").open && picture === sent; // not cancelled meanwhile
  try {
    const made = await send(`/api/avatars?${query}`, sent);
    const show = wanted();
    if (show) $("create").close();
    await fill();
    if (!show) return;
    tiles.get(made.id)?.click();
    tiles.get(made.id)?.focus();
  } catch (error) {
    if (!wanted()) return void report(Promise.reject(error)).catch(() => {});
    say(error.message, true);
    if (/\bfaces\b/.test(error.message)) $("create-face-field").hidden = false;
  } finally {
    $("create-go").disabled = false;
  }
}

export function showStep(step) {
  if ($("create").open) say(`${step}…`);
}

function say(text, bad = false) {
  $("create-state").textContent = text;
  $("create-state").classList.toggle("error", bad);
}
