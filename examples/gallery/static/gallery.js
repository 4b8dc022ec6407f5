// The page: tiles of files, a viewer, and what is dropped or chosen goes to the uploads.

import { bytes, counted, extensionOf, kindOf, time } from "./format.js";
import { Uploads, send } from "./uploads.js";

const $ = (selector) => document.querySelector(selector);
const RATIO = { image: 4 / 3, video: 16 / 9, audio: 1.1, document: 0.9 };
const SIGNS = {
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0Zm10-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0Z",
  document: "M7 3h7l5 5v12a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1Zm7 0v5h5M9 13h6M9 17h6",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
};

let items = [];
let kind = "";
let shown = null;

function say(text) {
  $("#news").textContent = text;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawing(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  return svg;
}

// Tiles

function face(item) {
  const which = kindOf(item);
  if (which === "image" && item.thumbnail) {
    return make("img", { src: item.thumbnail, alt: "", loading: "lazy", decoding: "async" });
  }
  if (which === "video") {
    // the browser reads the beginning by ranges, and shows a picture of it
    const video = make("video", { src: `${item.content}#t=0.1`, muted: true, preload: "metadata", tabIndex: -1 });
    const badge = make("span", { className: "badge", textContent: "▶" });
    video.addEventListener("loadedmetadata", () => {
      const seconds = Math.round(video.duration);
      if (Number.isFinite(seconds)) {
        badge.textContent = `▶ ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      }
    });
    const both = document.createDocumentFragment();
    both.append(video, badge);
    return both;
  }
  const extension = make("span", { className: "extension", textContent: extensionOf(item.name) });
  return make("span", { className: `plate ${which}` }, drawing(SIGNS[which]), extension);
}

function tile(item) {
  const which = kindOf(item);
  const open = make("button", { type: "button", className: "open" });
  open.setAttribute("aria-label", `Open ${item.name}, ${bytes(item.size)}, ${item.content_type}`);
  open.append(
    make("span", { className: "face" }, face(item)),
    make(
      "span",
      { className: "caption" },
      make("span", { className: "name", textContent: item.name, dir: "auto" }),
      make("span", { className: "size", textContent: bytes(item.size) }),
    ),
  );
  open.addEventListener("click", () => view(item.id));
  const ratio = item.width && item.height ? item.width / item.height : RATIO[which];
  const element = make("li", { className: `tile ${which}` }, open);
  element.dataset.id = item.id;
  element.style.setProperty("--ratio", Math.min(Math.max(ratio, 0.6), 2.4).toFixed(4));
  return element;
}

function visible() {
  return items.filter((item) => !kind || kindOf(item) === kind);
}

function render(fresh) {
  const list = $("#files");
  const known = new Map([...list.children].map((element) => [element.dataset.key, element]));
  list.replaceChildren(
    ...visible().map((item) => {
      const key = `${item.id} ${item.content}`;
      // a tile that is there stays, so that nothing flickers and the focus is not lost
      const element = known.get(key) ?? tile(item);
      element.dataset.key = key;
      element.classList.toggle("fresh", item.id === fresh);
      return element;
    }),
  );
  const size = items.reduce((sum, item) => sum + (item.size ?? 0), 0);
  $("#count").textContent = items.length ? `${counted(items.length, "file", "files")}, ${bytes(size)}` : "";
  $("#filters").hidden = items.length === 0;
  $("#nothing").hidden = visible().length > 0;
  $("#nothing").textContent = items.length ? "Nothing of this kind." : "Nothing here yet. Upload the first file.";
  $("#drop").classList.toggle("empty", items.length === 0);
}

// The viewer

function medium(item) {
  const which = kindOf(item);
  if (which === "image") return make("img", { src: item.content, alt: item.name });
  const player = { src: item.content, controls: true, preload: "metadata", ariaLabel: item.name };
  if (which === "video") return make("video", { ...player, playsInline: true });
  if (which === "audio") return make("div", { className: "low" }, drawing(SIGNS.audio), make("audio", player));
  return make("div", { className: "low" }, drawing(SIGNS.document), make("p", { textContent: "Download it to read it." }));
}

function facts(item) {
  const rows = [
    ["Type", item.content_type],
    ["Size", `${bytes(item.size)} (${item.size?.toLocaleString() ?? "?"} bytes)`],
    ["Dimensions", item.width ? `${item.width} × ${item.height}` : null],
    ["Added", time(item.added_at)],
    ["Checksum", item.checksum],
  ];
  return rows
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value, title: value })]);
}

function view(id) {
  const item = items.find((one) => one.id === id);
  if (!item) return;
  shown = item;
  $("#stage").replaceChildren(medium(item));
  $("#viewer-name").textContent = item.name;
  $("#facts").replaceChildren(...facts(item));
  $("#download").href = item.download;
  $("#viewer-error").textContent = "";
  const among = visible();
  const place = among.findIndex((one) => one.id === id);
  $("#back").disabled = place <= 0;
  $("#on").disabled = place < 0 || place >= among.length - 1;
  if (!$("#viewer").open) $("#viewer").showModal();
  $("#viewer").scrollTop = 0;
}

function step(by) {
  const among = visible();
  const next = among[among.findIndex((item) => item.id === shown?.id) + by];
  if (next) view(next.id);
}

async function replace(file) {
  const id = shown.id;
  $("#replacing").hidden = false;
  $("#viewer-error").textContent = "";
  try {
    const item = await send("PUT", `/api/items/${id}`, file, (part) => ($("#replacing-bar").value = part));
    items = items.map((one) => (one.id === id ? item : one));
    render(id);
    if (shown?.id === id) view(id);
    say(`${item.name} is in its place`);
  } catch (error) {
    $("#viewer-error").textContent = error.message;
  } finally {
    $("#replacing").hidden = true;
    $("#replacing-bar").value = 0;
  }
}

async function remove(item) {
  const answer = await fetch(`/api/items/${item.id}`, { method: "DELETE" }).catch(() => null);
  // 404: another request has deleted it already
  if (!answer || (!answer.ok && answer.status !== 404)) {
    $("#viewer-error").textContent = "Deletion failed.";
    return;
  }
  const place = visible().findIndex((one) => one.id === item.id);
  items = items.filter((one) => one.id !== item.id);
  $("#viewer").close();
  render();
  say(`${item.name} is deleted`);
  const tiles = $("#files").querySelectorAll(".open");
  (tiles[Math.min(place, tiles.length - 1)] ?? $("#chooser")).focus();
}

$("#back").addEventListener("click", () => step(-1));
$("#on").addEventListener("click", () => step(1));
$("#replacement").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) replace(file);
  event.target.value = "";
});
$("#delete").addEventListener("click", () => {
  $("#sure-text").replaceChildren("“", make("bdi", { textContent: shown.name }), "” and its content will be gone.");
  $("#sure").returnValue = "";
  $("#sure").showModal();
});
$("#sure").addEventListener("close", () => $("#sure").returnValue === "delete" && remove(shown));
$("#viewer").addEventListener("close", () => {
  $("#stage").replaceChildren(); // ends what is playing
  const open = document.querySelector(`[data-id="${shown?.id}"] .open`);
  shown = null;
  open?.focus();
});
$("#viewer").addEventListener("click", (event) => event.target === event.currentTarget && event.target.close());
$("#viewer").addEventListener("keydown", (event) => {
  // in a player, the arrows are the player's
  if (event.target.closest("video, audio, input")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});

// Uploads: chosen, or dropped anywhere

const uploads = new Uploads({
  say,
  onStored(item) {
    items = [item, ...items];
    render(item.id);
    say(`${item.name} is stored`);
  },
});

$("#chooser").addEventListener("change", (event) => {
  uploads.add([...event.target.files]);
  event.target.value = "";
});

let depth = 0; // dragenter and dragleave come for every element on the way
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const veil = (on) => document.body.classList.toggle("dropping", on);

window.addEventListener("dragenter", (event) => hasFiles(event) && veil((depth += 1) > 0));
window.addEventListener("dragleave", (event) => hasFiles(event) && veil((depth -= 1) > 0));
window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
window.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  veil((depth = 0) > 0);
  uploads.add([...event.dataTransfer.files]);
});

for (const button of $("#kinds").children) {
  button.addEventListener("click", () => {
    kind = button.dataset.kind;
    for (const other of $("#kinds").children) other.setAttribute("aria-pressed", String(other === button));
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
    render();
  });
}

// Where a screen is narrower than the filters, an edge with more behind it fades and has an arrow
function hint() {
  const { scrollLeft, scrollWidth, clientWidth } = $("#kinds");
  $("#filters").classList.toggle("more-before", scrollLeft > 2);
  $("#filters").classList.toggle("more-after", scrollWidth - clientWidth - scrollLeft > 2);
}

$("#kinds").addEventListener("scroll", hint, { passive: true });
new ResizeObserver(hint).observe($("#kinds"));

async function start() {
  try {
    const [list, policy] = await Promise.all([fetch("/api/items"), fetch("/api/items/policy")]);
    items = await list.json();
    uploads.policy = await policy.json().then((policy) => {
      $("#chooser").accept = $("#replacement").accept = policy.accept.join(",");
      $("#limits").textContent = `Pictures, films, sound, PDF and text, up to ${bytes(policy.max_size)} each`;
      return policy;
    });
    render();
  } catch {
    $("#nothing").hidden = false;
    $("#nothing").textContent = "Cannot reach the server. Reload the page in a moment.";
  }
}

start();
