// What is asked of a page in the browser; each function returns faults as [selector, what, to do].

"use strict";

const REST_OF_AXE = {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  rules: { "color-contrast": { enabled: false } },
  resultTypes: ["violations"],
};

const siteCheck = {
  // A path to an element that a reader of the report can find.
  selector(element) {
    const names = [];
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (at.id) {
        names.unshift(`#${at.id}`);
        break;
      }
      names.unshift([at.localName, ...[...at.classList].slice(0, 2)].join("."));
    }
    return names.slice(-4).join(" > ");
  },

  async violations(context, options) {
    const { violations } = await axe.run(context, options);
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map((node) => {
        const [check] = [...node.any, ...node.all, ...node.none];
        return [node.target.join(" "), `axe ${id}: ${check?.message ?? help}`, help];
      }),
    );
  },

  rules() {
    return siteCheck.violations(document, REST_OF_AXE);
  },

  // Text looks alike where its colour, its size and everything behind it are the same. axe judges one
  // of each kind: to ask where each word stands takes it most of a minute on a long page.
  kinds() {
    const behind = new Map([[null, ""]]);
    const backgroundOf = (element) => {
      if (!behind.has(element)) {
        const { backgroundColor, backgroundImage, opacity } = getComputedStyle(element);
        const isPlain = backgroundColor === "rgba(0, 0, 0, 0)" && backgroundImage === "none";
        const own = isPlain && opacity === "1" ? "" : `/${backgroundColor} ${backgroundImage} ${opacity}`;
        behind.set(element, backgroundOf(element.parentElement) + own);
      }
      return behind.get(element);
    };
    siteCheck.examples = new Map();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(element);
      const kind = [color, fontSize, fontWeight, backgroundOf(element)].join(" ");
      if (!siteCheck.examples.has(kind)) siteCheck.examples.set(kind, element);
    }
    return [...siteCheck.examples.keys()];
  },

  contrast(kinds) {
    const include = kinds.map((kind) => siteCheck.examples.get(kind));
    return siteCheck.violations({ include }, { runOnly: { type: "rule", values: ["color-contrast"] } });
  },

  async boxes() {
    // the page's own script answers a change of the window's size within a frame
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    return siteCheck.violations(document, {
      runOnly: { type: "rule", values: ["scrollable-region-focusable"] },
    });
  },

  cutOff() {
    return [...document.querySelectorAll("pre")]
      .filter((pre) => pre.scrollWidth > pre.clientWidth)
      .map((pre) => [
        siteCheck.selector(pre),
        `a code block is cut off, ${pre.scrollWidth} pixels in ${pre.clientWidth}: ${pre.innerText.slice(0, 40)}`,
        "write shorter lines",
      ]);
  },

  tooWide() {
    const width = document.documentElement.clientWidth;
    const faults = [...document.querySelectorAll("img, svg, video, canvas")]
      .filter((picture) => picture.getBoundingClientRect().width > width)
      .map((picture) => [siteCheck.selector(picture), "wider than the window", "set max-width: 100%"]);
    if (document.documentElement.scrollWidth > width) {
      const isBeyond = (element) => element.getBoundingClientRect().right > width + 1;
      const [widest] = [...document.querySelectorAll("main *")].filter(
        (element) => isBeyond(element) && ![...element.children].some(isBeyond),
      );
      faults.push([
        siteCheck.selector(widest ?? document.body),
        `the page is ${document.documentElement.scrollWidth} pixels wide`,
        "let it wrap, or scroll in a box of its own",
      ]);
    }
    return faults;
  },
};
