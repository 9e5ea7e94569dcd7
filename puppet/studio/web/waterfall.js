// Where the time goes: a row per stage, each beginning where the one before ends.

const WHAT = {
  capture: "from the camera until the loop took the frame",
  track: "find the face's points",
  retarget: "from your face to the portrait's",
  draw: "points to landmark image",
  generate: "landmark image to portrait",
  compose: "background and label",
};

const rows = new Map();

function makeRow(name, title = "") {
  const row = document.createElement("div");
  row.className = "stagerow";
  row.title = title;
  row.innerHTML = '<span></span><span class="track"><span class="bar99"></span>' +
    '<span class="bar50"></span></span><span class="num"></span><span class="num muted"></span>';
  row.firstChild.textContent = name;
  document.getElementById("waterfall").append(row);
  rows.set(name, row);
  return row;
}

const ms = (value) => value === null ? "–" : value >= 100 ? value.toFixed(0) : value.toFixed(1);

export function showWaterfall(state) {
  const box = document.getElementById("waterfall");
  if (!rows.size) {
    box.innerHTML = '<div class="stagerow heads"><span>stage</span><span>milliseconds</span>' +
      '<span class="num">p50</span><span class="num">p99</span></div>';
  }
  const stages = state.stages.filter((stage) => stage.p50 !== null);
  const sum = stages.reduce((total, stage) => total + stage.p50, 0);
  const scale = Math.max(sum, state.age.p50 ?? 0, 1) * 1.15;
  let at = 0;
  for (const stage of stages) {
    place(rows.get(stage.name) ?? makeRow(stage.name, WHAT[stage.name]), at, stage, scale);
    at += stage.p50;
  }
  if (state.age.p50 !== null) {
    const total = rows.get("age") ?? makeRow("age", "from capture until the panel had the picture");
    box.append(total);
    place(total, 0, state.age, scale);
  }
  const age = document.getElementById("age");
  age.innerHTML = "age <b></b> p50 · <b></b> p99";
  const [p50, p99] = age.querySelectorAll("b");
  p50.textContent = `${ms(state.age.p50)} ms`;
  p99.textContent = `${ms(state.age.p99)} ms`;
  const dropped = Object.entries(state.dropped).filter(([, count]) => count);
  const where = dropped.map(([name, count]) =>
    `${name.startsWith("file:") ? "recording" : name} ${count}`).join(", ");
  const { runtime, version, device, precision, tier } = state.runtime;
  document.getElementById("drops").textContent =
    `Dropped: ${where || "none"} of ${state.frames_in} frames. ` +
    `${tier} generator, ${runtime} ${version} on ${device}, ${precision}.` +
    (state.fallbacks.length ? ` ${state.fallbacks.at(-1)}` : "");
}

function place(row, at, { p50, p99 }, scale) {
  const share = (value) => `${Math.min(100, (100 * value) / scale)}%`;
  const [wide, bar] = row.children[1].children;
  bar.style.left = wide.style.left = share(at);
  bar.style.width = share(p50);
  wide.style.width = share(p99 ?? p50);
  row.children[2].textContent = ms(p50);
  row.children[3].textContent = ms(p99);
}
