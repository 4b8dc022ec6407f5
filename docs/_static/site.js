// A box that scrolls must be reachable by the keyboard. Browsers do that themselves, but not all of
// them; a box that fits needs no stop of the Tab key.
function markScrolling() {
  for (const box of document.querySelectorAll(".highlight > pre, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  new ResizeObserver(markScrolling).observe(document.documentElement);
});
