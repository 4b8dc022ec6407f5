// Sizes, times and kinds, as people read them.

const UNITS = ["B", "KB", "MB", "GB", "TB"];

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 10 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function time(seconds) {
  return TIME.format(new Date(seconds * 1000));
}

export function counted(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

export function kindOf(item) {
  const kind = item.content_type.split("/")[0];
  return ["image", "video", "audio"].includes(kind) ? kind : "document";
}

export function extensionOf(name) {
  const parts = name.split(".");
  return parts.length > 1 ? parts.at(-1).slice(0, 5) : "file";
}

// Characters without a shape hide what a name is: `in<U+202E>fdp.exe` looks like `inexe.pdf`. The server
// takes them out of what it stores; this is for the names of files that are still here.
const HIDDEN = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\u00ad\u180e\u200b\u2060-\u206f\ufeff]/gu;
// Joiners shape Persian letters and emoji; beside a letter of ASCII they show nothing.
const STRAY_JOINERS = /(?<=^|[\0-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?=$|[\0-\x7f])/gu;

export function cleaned(name) {
  return name.replace(HIDDEN, "").replace(STRAY_JOINERS, "").trim() || "file";
}

// What the server answers when it refuses a file (Litestar's JSON of an error), in words.
export function reason(status, answer) {
  const problem = Array.isArray(answer?.extra) ? answer.extra[0] : undefined;
  switch (problem?.code) {
    case "too_large":
      return `Too large: ${bytes(problem.params.max_size)} at most`;
    case "type_mismatch":
      return `Declared as ${problem.params.claimed}, but the content is ${problem.params.found}`;
    case "type_not_accepted":
      return `${problem.params.content_type} is not accepted`;
  }
  if (status === 413) return "Too large";
  if (status === 0) return "Cannot reach the server";
  return answer?.detail ?? `Error ${status}`;
}
