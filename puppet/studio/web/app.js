// Puts the page together: actions, keys, and what the server tells.

import { get, keepSocket, Refused, send, setToken, takeToken } from "/link.js";
import { recordingWish, startControls, showControls } from "/controls.js";
import { settled, showAvatar, showStep, startGallery } from "/gallery.js";
import { startPreview } from "/preview.js";
import { showSound, startSound } from "/sound.js";
import { showWaterfall } from "/waterfall.js";

const $ = (id) => document.getElementById(id);
let state = null;

const toggle = (path) => report(send(path, { on: null }));
const ACTIONS = {
  p: ["panic", "slate on every output, again to come back", () => toggle("/api/panic")],
  " ": ["pause", "the portrait rests", () => toggle("/api/pause")],
  c: ["calibrate", "recalibrate on your relaxed face", calibrate],
  m: ["mirror", "mirror the preview", () => toggle("/api/mirror")],
  r: ["record", "start or finish a recording", record],
  n: ["next", "next avatar", () => report(send("/api/avatar/next"))],
};

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", bad);
}

// Shows what went wrong, and hands it on.
async function report(promise) {
  try {
    const result = await promise;
    if ($("message").classList.contains("error")) say("");
    return result;
  } catch (error) {
    say(error instanceof Refused ? error.message : "The server does not answer.", true);
    throw error;
  }
}

const quietly = (promise) => promise?.catch?.(() => {});

let counting = 0;
async function calibrate() {
  const seconds = 3;
  await report(send("/api/calibrate", { countdown_s: seconds }));
  clearInterval(counting);
  let left = seconds;
  const show = () => {
    const box = $("countdown");
    box.hidden = false;
    box.innerHTML = "<strong></strong><span></span>";
    box.firstChild.textContent = left > 0 ? left : "…";
    box.lastChild.textContent = left > 0 ? "Look straight ahead, mouth closed, relaxed" : "Hold still";
    if (left < -6) { clearInterval(counting); box.hidden = true; }
    left -= 1;
  };
  show();
  counting = setInterval(show, 1000);
}

function calibrated(text) {
  clearInterval(counting);
  const box = $("countdown");
  if (box.hidden) return;
  box.innerHTML = "<span></span>";
  box.firstChild.textContent = text;
  setTimeout(() => { box.hidden = true; }, 2200);
}

async function record() {
  const on = !state?.recording.on;
  const result = await report(send("/api/recording", on ? { on, ...recordingWish() } : { on }));
  if (result.error) say(result.error, true);
  else if (!result.on) say(`Recorded ${size(result.bytes)} into ${result.folder}/${result.file}`);
}

const size = (bytes) => bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function show(next) {
  state = next;
  const press = (id, on) => $(id).setAttribute("aria-pressed", String(on));
  press("panic", state.panic);
  press("pause", state.paused);
  press("mirror", state.mirror);
  press("record", state.recording.on);
  for (const pane of document.querySelectorAll(".pane")) pane.classList.toggle("mirrored", state.mirror);
  const { on, seconds, bytes, error } = state.recording;
  $("record").firstChild.textContent = on ? "Stop" : "Record";
  $("record-state").textContent = on ? `${clock(seconds)} · ${size(bytes)}` : error ?? "";
  $("portrait-caption").textContent = `What the others see${state.mirror ? ", mirrored" : ""}`;
  $("driver-picture").checked = state.driver_picture;
  $("driver-picture").disabled = state.exposed;
  $("driver-caption").textContent = state.driver_picture ? "You (only here)" : "You, as landmarks";
  for (const button of $("expressions").children) {
    press(button.id, state.expressions.includes(button.dataset.name));
  }
  showAvatar(state.avatar);
  showControls(state);
  showWaterfall(state);
  showSound(state);
  chips();
}

function chips() {
  const list = [];
  if (state.panic) list.push(["slate on every output", "bad"]);
  else if (state.paused) list.push(["paused", "warn"]);
  else if (state.silent) list.push(["no picture from the camera", "bad"]);
  else list.push(state.tracked ? ["face tracked", "ok"] : ["no face in sight", "warn"]);
  if (state.recording.on) list.push(["recording", "bad"]);
  list.push([`${state.fps.toFixed(0)} fps`, ""], [`${state.size.join("×")}`, ""]);
  $("chips").replaceChildren(...list.map(([text, kind]) => {
    const chip = document.createElement("span");
    chip.className = `chip ${kind}`;
    chip.textContent = text;
    return chip;
  }));
}

function hear({ kind, message }) {
  const bad = ["refused", "avatar-failed", "sink-failed", "source-silent", "tracking-failed", "picture-failed", "runtime-fallback"].includes(kind);
  if (kind === "creating") showStep(message);
  if (kind === "calibrated") calibrated(message);
  if (kind === "avatar-failed" || kind === "refused") settled();
  if (bad || ["calibrated", "source-back", "camera", "created"].includes(kind)) say(message, bad);
}

async function startExpressions() {
  const names = await get("/api/expressions");
  names.forEach((name, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `expression-${i + 1}`;
    button.dataset.name = name;
    button.setAttribute("aria-keyshortcuts", i + 1);
    button.append(name);
    const key = document.createElement("kbd");
    key.textContent = i + 1;
    button.append(key);
    button.onclick = () => quietly(report(send("/api/expression", { name })));
    $("expressions").append(button);
    ACTIONS[String(i + 1)] = [button.id, name, button.onclick];
  });
}

function startKeys() {
  for (const [key, [id, , act]] of Object.entries(ACTIONS)) {
    const button = $(id);
    button.onclick = () => quietly(act());
    if (!button.querySelector("kbd") && !button.classList.contains("quiet")) {
      const mark = document.createElement("kbd");
      mark.textContent = key === " " ? "space" : key.toUpperCase();
      button.append(mark);
    }
  }
  const lines = [...Object.entries(ACTIONS).map(([key, [, what]]) => [key === " " ? "space" : key, what]),
    ["?", "this list"]];
  for (const [key, what] of lines) {
    const term = document.createElement("dt");
    term.innerHTML = "<kbd></kbd>";
    term.firstChild.textContent = key;
    const line = document.createElement("dd");
    line.textContent = what;
    $("keys").append(term, line);
  }
  $("help-open").onclick = () => $("help").showModal();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=range], [type=checkbox]), select, textarea")) return;
    if (event.key === " " && event.target.closest("button, a, input")) return;
    if (event.key === "?") { $("help").showModal(); return; }
    const action = ACTIONS[event.key.toLowerCase()];
    if (action) { event.preventDefault(); quietly(action[2]()); }
  });
}

async function start() {
  await get("/api/avatars"); // is the token good?
  $("gate").hidden = true;
  $("main").hidden = false;
  await startExpressions();
  startKeys();
  startControls(report);
  startSound(say);
  $("driver-picture").onchange = (event) =>
    quietly(report(send("/api/driver-picture", { on: event.target.checked })));
  keepSocket("/api/events", {
    message(text) {
      const message = JSON.parse(text);
      if (message.type === "state") show(message);
      else if (message.type === "event") hear(message);
      else say("Starting…");
    },
    lost() {
      say("The connection is lost; trying again.", true);
      // A server that was started anew may want another token: the gate asks for it.
      get("/api/avatars").catch((error) => { if (error.status === 401) location.reload(); });
    },
    open() { say(""); },
  });
  startPreview();
  await startGallery(report);
}

async function enter() {
  try {
    if (!takeToken()) throw new Refused(401, "");
    await start();
  } catch (error) {
    $("gate").hidden = !$("main").hidden;
    $("gate-error").textContent = error.message;
    if (!(error instanceof Refused) || error.status !== 401) throw error;
    setToken(null);
    $("gate-token").focus();
  }
}

$("gate-form").onsubmit = (event) => {
  event.preventDefault();
  const text = $("gate-token").value.trim();
  setToken(text.includes("token=") ? text.split("token=").pop() : text);
  enter();
};
enter();
