// The two live pictures. After drawing what came, the page asks for the next, so that it sets
// its own pace; a hidden tab asks for nothing.

import { keepSocket } from "/link.js";

const NAMES = { 1: "portrait", 2: "driver" };

export function startPreview() {
  const canvases = Object.fromEntries(
    Object.values(NAMES).map((name) => [name, document.getElementById(name)]));
  let socket = null;
  let owed = false;

  const ask = () => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    if (document.hidden) { owed = true; return; }
    owed = false;
    socket.send("{}");
  };
  document.addEventListener("visibilitychange", () => { if (owed) ask(); });

  const draw = async (data) => {
    const bytes = new Uint8Array(data);
    const canvas = canvases[NAMES[bytes[0]]];
    const picture = await createImageBitmap(new Blob([bytes.subarray(1)], { type: "image/jpeg" }));
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
  };

  // The two pictures of one answer come one after the other: one request for both.
  let timer = 0;
  keepSocket("/api/pictures", {
    open(opened) {
      socket = opened;
      socket.send(JSON.stringify({ fps: 12, want: ["portrait", "driver"] }));
    },
    async message(data) {
      await draw(data);
      clearTimeout(timer);
      timer = setTimeout(ask, 5);
    },
    lost() { socket = null; clearTimeout(timer); },
  });
}
