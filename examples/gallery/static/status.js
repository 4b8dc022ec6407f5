// The page of the storages' health, and of what a check finds.

import { bytes, counted } from "./format.js";

const $ = (selector) => document.querySelector(selector);

function card(value, text, tone = "") {
  const element = document.createElement("div");
  element.className = "card";
  const strong = document.createElement("strong");
  strong.textContent = value;
  strong.className = tone;
  const span = document.createElement("span");
  span.textContent = text;
  element.append(strong, span);
  return element;
}

function storage({ name, healthy, seconds, error }) {
  const took = `in ${Math.max(1, Math.round(seconds * 1000))} ms`;
  return healthy
    ? card(name, `written, read and deleted ${took}`, "good")
    : card(name, `${error} ${took}`, "bad");
}

const KINDS = {
  missing: "a row references an object that does not exist",
  corrupt: "an object is not what its row says",
  foreign: "a row refers to what is not its own",
  orphan: "an object that no row knows",
  unreachable: "a storage, or an object in it, cannot be reached",
  ledger: "the ledger says otherwise than the rows",
  place: "a storage is not the one that the database knows",
  withheld: "the database may be a copy or a restored one, so nothing is removed",
  hidden: "a recorded column cannot be read",
  triggers: "triggers that were installed are gone",
  unrecorded: "an object that the ledger does not know; no fault",
};
const GOOD = "M20 6 9.5 17.5 4 12";
const BAD = "M12 4 2.5 20h19L12 4zm0 6v4.5m0 2.6v.4";

function sign(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  return svg;
}

function verdict(text, isGood) {
  $("#verdict").className = `verdict ${isGood ? "good" : "bad"}`;
  $("#verdict").replaceChildren(sign(isGood ? GOOD : BAD), text);
  return text;
}

function kind([name, count]) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  row.append(head, cell(KINDS[name] ?? ""), cell(count));
  row.lastChild.className = count && name !== "unrecorded" ? "bad" : "";
  return row;
}

function cell(text) {
  const element = document.createElement("td");
  element.textContent = text;
  return element;
}

function finding({ kind, detail, row, key }) {
  const item = document.createElement("li");
  const title = document.createElement("strong");
  title.textContent = kind;
  const place = document.createElement("code");
  place.textContent = [row, key].filter(Boolean).join(" · ");
  item.append(title, ` ${detail} `, place);
  return item;
}

function compare(check) {
  $("#counts").hidden = false;
  $("#findings").hidden = !check.findings.length;
  $("#findings").replaceChildren(...check.findings.map(finding));
  const kinds = Object.entries(check.counts);
  $("#counts tbody").replaceChildren(...kinds.map(kind));
  $("#compared").textContent =
    `${counted(check.files, "file", "files")} in rows, thumbnails too, and ` +
    `${counted(check.objects, "object", "objects")} in storages.`;
  const faults = kinds.reduce((sum, [name, count]) => sum + (name === "unrecorded" ? 0 : count), 0);
  return verdict(check.is_clean ? "They agree" : `${counted(faults, "fault", "faults")} found`, check.is_clean);
}

function backlog({ waiting, due, oldest_seconds: oldest, stuck }) {
  const wait = due ? `due, the oldest for ${age(oldest)}` : "due";
  return [
    card(waiting, "waiting to be deleted"),
    card(due, wait, due ? "bad" : ""),
    card(stuck, "refused 20 times or more", stuck ? "bad" : ""),
  ];
}

function age(seconds) {
  if (seconds < 120) return counted(Math.round(seconds), "second", "seconds");
  if (seconds < 7200) return counted(Math.round(seconds / 60), "minute", "minutes");
  return counted(Math.round(seconds / 3600), "hour", "hours");
}

async function answer(address, options) {
  const response = await fetch(address, options);
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

// Opening the page only reads, since a link of another site may have led here; the button probes too.
async function show({ probe }) {
  $("main").setAttribute("aria-busy", "true");
  $("#again").disabled = true;
  try {
    if (probe) {
      const storages = await answer("/api/status/probe", { method: "POST" });
      $("#storages").replaceChildren(...storages.map(storage));
    }
    const status = await answer("/api/status");
    $("#files").replaceChildren(card(status.files, "files in rows"), card(bytes(status.size), "of content"));
    $("#backlog").replaceChildren(...backlog(status.backlog));
    const result = compare(status.check);
    $("#problem").hidden = true;
    $("#news").textContent = `${probe ? "Checked" : "Compared"}. Rows and storages: ${result}`;
  } catch (error) {
    $("#problem").hidden = false;
    $("#problem").textContent =
      error instanceof TypeError ? "Cannot reach the server." : `The server responded with error ${error.message}.`;
  }
  $("#again").disabled = false;
  $("main").removeAttribute("aria-busy");
}

$("#again").addEventListener("click", () => show({ probe: true }));
show({ probe: false });
