// How late the picture is, so that the sound can be held back by as much.

import { Refused, send } from "/link.js";

const $ = (id) => document.getElementById(id);

export function showSound({ sound_delay_ms: delay }) {
  const line = $("sound");
  if (delay === null) { line.textContent = "Sound: nothing measured yet."; return; }
  line.innerHTML = "Sync offset to enter for your microphone: <b></b>";
  line.querySelector("b").textContent = `${delay}\u00a0ms`;
  line.title = "OBS: Advanced Audio Properties, Sync Offset";
}

export function startSound(say) {
  const dialog = $("sound-dialog");
  $("sound-open").onclick = () => { $("sound-state").textContent = ""; dialog.showModal(); };
  $("sound-cancel").onclick = () => dialog.close();
  dialog.onclose = () => { $("sound-password").value = ""; };
  $("sound-form").onsubmit = async (event) => {
    event.preventDefault();
    const state = $("sound-state");
    state.classList.remove("error");
    state.textContent = "Asking OBS…";
    const obs_input = $("sound-input").value;
    try {
      const { delay_ms } = await send("/api/sound-delay",
        { obs_input, password: $("sound-password").value || null, port: Number($("sound-port").value) });
      dialog.close();
      say(`OBS holds ${obs_input} back by ${delay_ms} ms now.`);
    } catch (error) {
      state.textContent = error instanceof Refused ? error.message : "The server does not answer.";
      state.classList.add("error");
    }
  };
}
