// The queue of uploads: a few at a time, each with a bar, a way to stop it, and its error.

import { bytes, cleaned, reason } from "./format.js";

const AT_A_TIME = 3;

// `fetch` cannot tell how much of a body has gone out; XMLHttpRequest can.
export function send(method, url, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    const fail = () => reject(new Error(reason(request.status, request.response)));
    request.addEventListener("load", () =>
      request.status >= 200 && request.status < 300 ? resolve(request.response) : fail(),
    );
    request.addEventListener("error", fail);
    request.addEventListener("abort", () => reject(new DOMException("Stopped", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}

export class Uploads {
  #panel = document.querySelector("#uploads");
  #list = document.querySelector("#queue");
  #title = document.querySelector("#uploads-title");
  #waiting = [];
  #running = 0;
  #left = 0;
  #policy = { max_size: null };
  #onStored;
  #say;

  constructor({ onStored, say }) {
    this.#onStored = onStored;
    this.#say = say;
    document.querySelector("#uploads-close").addEventListener("click", () => this.#tidy());
    // a page that is left takes its uploads along
    window.addEventListener("beforeunload", (event) => this.#left && event.preventDefault());
  }

  set policy(policy) {
    this.#policy = policy;
  }

  add(files) {
    for (const file of files) {
      const row = new Row(file, () => this.#count());
      this.#list.prepend(row.element);
      this.#left += 1;
      this.#waiting.push(row);
    }
    this.#panel.hidden = this.#list.children.length === 0;
    this.#count();
    this.#next();
  }

  #next() {
    while (this.#running < AT_A_TIME && this.#waiting.length) {
      this.#running += 1;
      this.#run(this.#waiting.shift()).finally(() => {
        this.#running -= 1;
        this.#left -= 1;
        this.#count();
        this.#next();
      });
    }
  }

  async #run(row) {
    try {
      const limit = this.#policy.max_size;
      // the server says so too, but only after the file has gone there
      if (limit !== null && row.file.size > limit) throw new Error(`Too large: ${bytes(limit)} at most`);
      row.signal.throwIfAborted();
      const item = await send("POST", "/api/items", row.file, (part) => row.show(part), row.signal);
      row.end("done", "Stored");
      this.#onStored(item);
    } catch (error) {
      row.end(error.name === "AbortError" ? "stopped" : "failed", error.message);
      this.#say(`${row.name}: ${error.message}`);
    }
  }

  #count() {
    this.#title.textContent = this.#left ? `Uploading ${this.#left}` : "Uploads";
    if (!this.#left && this.#list.children.length) {
      const failed = this.#list.querySelectorAll(".failed").length;
      this.#title.textContent = failed ? `${failed} not stored` : "All stored";
    }
  }

  #tidy() {
    for (const row of [...this.#list.children]) if (row.dataset.ended) row.remove();
    this.#panel.hidden = this.#list.children.length === 0;
  }
}

class Row {
  static #number = 0;
  #abort = new AbortController();
  #bar;
  #state;
  #stop;

  constructor(file) {
    this.file = file;
    this.name = cleaned(file.name);
    const id = `upload-${(Row.#number += 1)}`;
    this.element = document.createElement("li");
    const name = document.createElement("label");
    name.htmlFor = id;
    name.textContent = this.name;
    name.dir = "auto";
    this.#state = document.createElement("span");
    this.#state.className = "state";
    this.#state.textContent = "Waiting";
    this.#bar = document.createElement("progress");
    this.#bar.id = id;
    this.#bar.max = 1;
    this.#bar.value = 0;
    this.#stop = document.createElement("button");
    this.#stop.type = "button";
    this.#stop.className = "icon";
    this.#stop.setAttribute("aria-label", `Stop ${this.name}`);
    this.#stop.innerHTML = '<svg aria-hidden="true" viewBox="0 0 24 24"><path d="m7 7 10 10M17 7 7 17"/></svg>';
    this.#stop.addEventListener("click", () => this.#abort.abort());
    this.element.append(name, this.#state, this.#stop, this.#bar);
  }

  get signal() {
    return this.#abort.signal;
  }

  show(part) {
    this.#bar.value = part;
    const size = this.file.size;
    this.#state.textContent = part < 1 ? `${bytes(part * size)} of ${bytes(size)}` : "Storing";
    // everything has gone out, and nobody knows how long the rest takes
    if (part >= 1) this.#bar.removeAttribute("value");
  }

  end(how, text) {
    this.element.classList.add(how);
    this.element.dataset.ended = "yes";
    this.#state.textContent = text;
    this.#bar.value = how === "done" ? 1 : 0;
    this.#stop.remove();
  }
}
