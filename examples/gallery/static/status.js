// The page of the storages' health.

import { bytes } from "./format.js";

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

async function show() {
  $("main").setAttribute("aria-busy", "true");
  try {
    const status = await (await fetch("/api/status")).json();
    $("#storages").replaceChildren(...status.storages.map(storage));
    $("#files").replaceChildren(card(status.files, "files in rows"), card(bytes(status.size), "of content"));
    $("#problem").hidden = true;
    $("#news").textContent = "Checked";
  } catch {
    $("#problem").hidden = false;
    $("#problem").textContent = "The server cannot be reached.";
  }
  $("main").removeAttribute("aria-busy");
}

$("#again").addEventListener("click", show);
show();
