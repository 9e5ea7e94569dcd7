// Sliders, selections and switches. What the server says wins, except where a hand is on it.

import { get, send } from "/link.js";

const $ = (id) => document.getElementById(id);
const SLIDERS = [
  ["expression", "Expression", 0, 2],
  ["pose", "Head pose", 0, 2],
  ["mouth", "Mouth", 0, 2],
  ["gaze", "Gaze", 0, 2],
  ["steadiness", "Smoothing", 0, 4],
];
const OUTPUTS = [["virtual", "Virtual camera"], ["overlay", "Overlay for OBS"],
  ["mjpeg", "Page on this machine"], ["preview", "Window"]];
const touched = new Map();
let report = () => {};
let sinksShown = "";
let defaults = {};

export function startControls(tell) {
  report = tell;
  for (const slider of SLIDERS) addSlider(...slider);
  $("reset").onclick = () =>
    report(send("/api/sliders", Object.fromEntries(SLIDERS.map(([n]) => [n, defaults[n]])), "PATCH"));
  startPicture();
  $("camera").onchange = () => report(send("/api/camera", { camera: $("camera").value }));
  fillCameras();
  fillMicrophones();
  navigator.mediaDevices?.addEventListener?.("devicechange", fillCameras);
}

export function recordingWish() {
  return { format: $("record-format").value, microphone: $("microphone").value || null };
}

async function fillMicrophones() {
  const names = await get("/api/microphones");
  const called = (name) => (name === "driver" ? "the driving clip's" : name);
  $("microphone").append(...names.map((name) => new Option(called(name), name)));
  $("microphone").disabled = !names.length;
  if (!names.length) $("microphone").title = "no microphone here, or not over a network";
}

function addSlider(name, title, low, high) {
  const row = document.createElement("label");
  row.className = "slider";
  row.innerHTML = `<span>${title}</span><input type="range" id="slider-${name}" min="${low}" ` +
    `max="${high}" step="0.05"><output></output>`;
  const input = row.querySelector("input");
  let timer = 0;
  input.oninput = () => {
    touched.set(name, Date.now());
    row.querySelector("output").value = percent(input.value);
    clearTimeout(timer);
    timer = setTimeout(() =>
      report(send("/api/sliders", { [name]: Number(input.value) }, "PATCH")), 60);
  };
  $("sliders").append(row);
}

const percent = (value) => `${Math.round(value * 100)} %`;
const held = (name) => Date.now() - (touched.get(name) ?? 0) < 2500;

function startPicture() {
  const background = () => {
    const kind = $("background").value;
    touched.set("background", Date.now());
    showFields(kind);
    if (kind === "image") { $("background-file").click(); return; }
    const body = { kind };
    if (kind === "colour") body.colour = $("colour").value;
    if (kind === "blur") body.strength = Number($("blur").value);
    report(send("/api/background", body));
  };
  for (const id of ["background", "colour", "blur"]) $(id).onchange = background;
  $("background-other").onclick = () => $("background-file").click();
  $("background-file").onchange = () => {
    const file = $("background-file").files[0];
    if (file) report(send("/api/background/picture", file));
    $("background-file").value = "";
  };
  $("label-size").onchange = () => report(send("/api/label", { size: $("label-size").value }));
  $("label-corner").onchange = () => report(send("/api/label", { corner: $("label-corner").value }));
}

function showFields(kind) {
  $("colour-field").hidden = kind !== "colour";
  $("blur-field").hidden = kind !== "blur";
  $("background-other").hidden = kind !== "image";
}

async function fillCameras() {
  const { cameras, current } = await get("/api/cameras");
  const names = !current || cameras.includes(current) ? cameras : [current, ...cameras];
  $("camera").replaceChildren(...names.map((name) =>
    new Option(name === "demo" ? "demo clip" : name, name, false, name === current)));
}

export function showControls(state) {
  defaults = state.slider_defaults;
  for (const [name] of SLIDERS) {
    const input = $(`slider-${name}`);
    if (held(name)) continue;
    input.value = state.sliders[name];
    input.nextElementSibling.value = percent(state.sliders[name]);
  }
  if (!held("background")) {
    choose("background", state.background);
    if (state.background === "colour") choose("colour", state.background_colour);
    if (state.background === "blur") choose("blur", state.background_blur);
    showFields(state.background);
  }
  choose("label-size", state.label_size);
  choose("label-corner", state.label_corner);
  const listed = [...$("camera").options].some((o) => o.value === state.camera);
  if (listed) choose("camera", state.camera);
  else if (state.camera) report(fillCameras()); // opened, or plugged in, since the page was
  const { score } = state.calibration;
  $("fit").textContent = score === null ? "Not calibrated yet: look straight ahead, relaxed."
    : `Calibration fit ${Math.round(score * 100)} %` +
      (score < 0.5 ? ": recalibrate with a relaxed face, looking straight ahead." : "");
  showSinks(state);
}

function choose(id, value) {
  if (document.activeElement !== $(id)) $(id).value = value;
}

function showSinks(state) {
  const known = state.sinks.filter((s) => s.name !== "panel" && !s.name.startsWith("file:"));
  const kind = (sink) => sink.name.split(":")[0];
  const list = OUTPUTS.flatMap(([name, title]) => {
    const there = known.filter((sink) => kind(sink) === name);
    return there.length ? there.map((sink) => ({ ...sink, title }))
      : [{ name, title, on: false, error: null }];
  });
  list.push(...known.filter((sink) => !OUTPUTS.some(([name]) => name === kind(sink))));
  const shape = JSON.stringify(list.map((s) => s.name));
  if (shape !== sinksShown) {
    sinksShown = shape;
    $("sinks").replaceChildren(...list.map(sinkRow));
  }
  list.forEach((sink, i) => {
    const row = $("sinks").children[i];
    const box = row.querySelector("input");
    if (!box.disabled) box.checked = sink.on;
    row.lastChild.textContent = sink.error ?? (sink.on && sink.age_p50 !== null && sink.age_p50 !== undefined
      ? `age ${sink.age_p50.toFixed(0)} ms p50, ${sink.age_p99.toFixed(0)} ms p99, ${sink.dropped} dropped` : "");
    row.lastChild.classList.toggle("error", Boolean(sink.error));
    const copy = row.querySelector("button");
    copy.hidden = !sink.url || !sink.on;
    copy.dataset.url = sink.url ?? "";
  });
}

// The address holds a secret, so it is copied rather than shown: the panel may be on stream.
async function copyAddress(button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.url);
    button.textContent = "Copied";
  } catch {
    window.prompt("The address, for OBS's browser source:", button.dataset.url);
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

function sinkRow(sink) {
  const row = document.createElement("li");
  row.innerHTML = '<label class="check"><input type="checkbox"> <span></span></label>' +
    '<button class="quiet small" type="button" hidden>Copy address</button>' +
    '<span class="muted small"></span>';
  row.querySelector("button").onclick = (event) => copyAddress(event.target);
  row.querySelector("label span").textContent =
    sink.title ? sink.title + (sink.name.includes(":") ? ` (${sink.name.split(":")[1]})` : "") : sink.name;
  const box = row.querySelector("input");
  box.onchange = async () => {
    box.disabled = true;
    try {
      await report(send("/api/sinks", { sink: sink.name, on: box.checked }));
    } catch {
      box.checked = !box.checked;
    } finally {
      box.disabled = false;
    }
  };
  return row;
}
