const STEP = 60, MOST = 1000;           // hits shown at first and with each "Show more"; the most the server gives
const PAUSE = 40;                       // milliseconds without a key before asking
const QUIET = 80;                       // and after an answer, before its pictures are asked for
const MAX_FILE = 8e6, MAX_PIXELS = 16e6, MAX_SIDE = 8192;
const PLAIN = ["image/jpeg", "image/png", "image/webp"];

const the = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

function make(tag, given = {}, ...inside) {
  const { className, dataset, ...attributes } = given;
  const made = document.createElement(tag);
  if (className) made.className = className;
  Object.assign(made.dataset, dataset);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside.filter((one) => one !== null && one !== undefined));
  return made;
}

// What is asked: words, items and at most one picture, each with a weight; conditions; how many hits.

const query = { words: "", weight: 1, parts: [], k: STEP };
const chosen = {};                      // attribute -> Set of values, [least, most], or a text it contains
let about = null, hits = [], turn = 0, underWay = null, waiting = 0, filling = 0;
let unfilled = [];                      // pictures of cards, yet to be asked for

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

function condition() {
  const all = [];
  for (const [name, value] of Object.entries(chosen)) {
    if (value instanceof Set) {
      const values = [...value].map(quoted);
      if (values.length === 0) continue;
      if (about.attributes[name].kind === "set") all.push(`(${values.map((one) => `has("${name}", ${one})`).join(" OR ")})`);
      else all.push(`"${name}" IN (${values.join(", ")})`);
    } else if (Array.isArray(value)) {
      if (value[0] !== "") all.push(`"${name}" >= ${value[0]}`);
      if (value[1] !== "") all.push(`"${name}" <= ${value[1]}`);
    } else if (value) all.push(`instr(lower("${name}"), lower(${quoted(value)})) > 0`);
  }
  if (the("where").value.trim()) all.push(`(${the("where").value.trim()}\n)`);
  return all.join(" AND ");
}

function parts() {
  const words = query.words.trim() ? [{ text: query.words.trim(), weight: query.weight }] : [];
  return [...words, ...query.parts.map(({ asked, weight }) => ({ ...asked, weight }))];
}

function body(more) {
  const where = condition();
  const mix = parts();
  const one = mix.length === 1 && mix[0].weight === 1;
  const { weight, ...only } = mix[0] ?? {};
  return { ...(one ? only : { mix }), ...(where && { where }), k: query.k, attributes: true, ...more };
}

// Talking with the server.

class Refused extends Error {
  constructor(status, detail, seconds) { super(detail); this.status = status; this.seconds = seconds; }
}

async function fetched(path, given = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...given.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...given, headers });
  if (answer.status === 401) { await askToken(); return fetched(path, given); }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.detail ?? `the server answered ${answer.status}`, Number(answer.headers.get("Retry-After")));
}

function askToken() {
  const dialog = the("token");
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    sessionStorage.setItem("token", the("token-text").value.trim());
    done();
  }, { once: true }));
}

async function search(asked, signal) {
  const picture = query.parts.find((part) => part.file);
  if (!picture) {
    const headers = { "Content-Type": "application/json" };
    return (await fetched("v1/search", { method: "POST", headers, body: JSON.stringify(asked), signal })).json();
  }
  const form = new FormData();
  form.append("json", JSON.stringify(asked));
  form.append("image", picture.file, "picture");
  return (await fetched("v1/search", { method: "POST", body: form, signal })).json();
}

async function listed(signal) {
  const where = condition();
  const asked = new URLSearchParams({ k: query.k, ...(where && { where }) });
  const { items } = await (await fetched(`v1/items?${asked}`, { signal })).json();
  return { hits: items, unknown_words: [] };
}

async function ask() {
  clearTimeout(waiting);
  underWay?.abort();
  underWay = new AbortController();
  const mine = ++turn, began = performance.now(), isSearch = parts().length > 0;
  remember();
  try {
    const found = await (isSearch ? search(body(), underWay.signal) : listed(underWay.signal));
    if (mine !== turn) return;
    show(found.hits);
    const took = Math.round(performance.now() - began);
    const unknown = found.unknown_words.length ? ` Not known, left out: ${found.unknown_words.join(", ")}.` : "";
    const order = isSearch ? `the closest first, in ${took} ms` : "by their ids";
    say(found.note ? found.note : hits.length ? `${number(hits.length)} of ${number(about.items)} items, ${order}.${unknown}` : `Nothing fits.${unknown}`);
  } catch (error) {
    if (mine !== turn || error.name === "AbortError") return;
    fillSoon();
    if (error.status === 503) {
      say("The server is busy; asking again.");
      waiting = setTimeout(ask, 1000 * (error.seconds || 1));
    } else say(error.status ? error.message : "The server does not answer.", true);
  }
}

function soon() {
  clearTimeout(filling);
  clearTimeout(waiting);
  waiting = setTimeout(ask, PAUSE);
}
function anew() { query.k = STEP; soon(); }

function say(text, isFault = false) {
  the("status").textContent = text;
  the("status").classList.toggle("fault", isFault);
}

function remember() {
  const where = the("where").value.trim();
  const kept = new URLSearchParams({ ...(query.words && { text: query.words }), ...(where && { where }) });
  history.replaceState(null, "", `#${kept}`);
}

// Results. A larger k finds the same hits first, so that they can stay.

// Relative, so that the page also works where another program has put the app below a path of its own.
const thumbnail = (hit) => (hit.image ? `v1/items/${encodeURIComponent(hit.id)}/image` : null);

function name(hit) { return hit.caption ?? String(hit.id); }

async function fill(image, path, size, instead = "") {
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "blank" }, instead)));
  const url = `${path}?size=${size}`;
  if (!sessionStorage.getItem("token")) { image.src = url; return; }
  const content = await fetched(url).then((answer) => answer.blob()).catch(() => new Blob());
  image.src = URL.createObjectURL(content);
}

// While words are typed, pictures of each answer would keep the next one waiting: browsers ask six things at a time.
function fillSoon() {
  clearTimeout(filling);
  filling = setTimeout(() => { for (const [image, hit] of unfilled.splice(0)) fill(image, thumbnail(hit), 256, name(hit)); }, QUIET);
}

function pictured(hit) {
  if (!hit.image) return make("span", { className: "blank" }, name(hit));
  const image = make("img", { alt: "", loading: "lazy" });
  unfilled.push([image, hit]);
  return image;
}

function portrait(hit) {
  if (!hit.image) return make("span", { className: "blank" }, name(hit));
  const image = make("img", { alt: name(hit) });
  fill(image, thumbnail(hit), 512, name(hit));
  return image;
}

function card(hit) {
  const like = (weight) => () => add({ item: hit.id }, weight, name(hit), thumbnail(hit));
  const near = hit.distance === undefined ? "" : hit.distance.toFixed(3);
  return make("li", { className: "card" },
    make("button", { type: "button", className: "open", "aria-label": `${name(hit)}: why it was found`, onclick: () => why(hit) },
      pictured(hit), hit.image ? make("span", { className: "caption", title: name(hit) }, name(hit)) : null),
    make("div", { className: "tools" },
      make("span", { title: about.metric === "ip" ? "inner product: larger is closer" : "squared distance: smaller is closer" }, near),
      make("button", { type: "button", className: "more", "aria-label": `More like ${name(hit)}`, title: "More like this", onclick: like(1) }, "+"),
      make("button", { type: "button", className: "less", "aria-label": `Less like ${name(hit)}`, title: "Less of that", onclick: like(-0.5) }, "−")));
}

function show(found) {
  const same = found.length >= hits.length && hits.every((hit, place) => JSON.stringify(hit) === JSON.stringify(found[place]));
  const focused = [...the("results").querySelectorAll(".open")].indexOf(document.activeElement);
  if (!same) unfilled = [];
  if (same) the("results").append(...found.slice(hits.length).map(card));
  else the("results").replaceChildren(...found.map(card));
  fillSoon();
  // Who walks through the results stays at that place in the new ones.
  if (!same && focused >= 0) the("results").querySelectorAll(".open")[Math.min(focused, found.length - 1)]?.focus();
  hits = found;
  the("more").hidden = found.length < query.k || query.k >= MOST;
}

// Why a hit was found: what each codebook adds to its distance, and the label words its code is near.

function bars(shares) {
  const longest = Math.max(...shares.map(Math.abs), 1e-30);
  const rows = shares.map((share, place) => {
    const bar = make("span", { className: share < 0 ? "bar against" : "bar" });
    bar.style.width = `${100 * Math.abs(share) / longest}%`;
    return make("tr", {}, make("th", { scope: "row" }, `Codebook ${place + 1}`), make("td", {}, bar), make("td", {}, share.toFixed(3)));
  });
  const sum = shares.reduce((total, share) => total + share, 0).toFixed(3);
  rows.push(make("tr", {}, make("th", { scope: "row" }, "Together"), make("td"), make("td", {}, sum)));
  return make("table", { className: "shares" }, make("tbody", {}, ...rows));
}

async function why(hit) {
  const facts = [["id", String(hit.id)]];
  if (hit.rank) facts.push(["rank", number(hit.rank)], [about.metric === "ip" ? "inner product" : "squared distance", hit.distance.toFixed(4)]);
  for (const [key, value] of Object.entries(hit.attributes)) {
    if (value !== null && String(value)) facts.push([key, Array.isArray(value) ? value.join(", ") : String(value)]);
  }
  const shares = make("div");
  the("why-body").replaceChildren(
    make("h2", { id: "why-name" }, name(hit)),
    make("div", { className: "facts" }, portrait(hit),
      make("dl", {}, ...facts.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]))),
    shares);
  if (!the("why").open) the("why").showModal();
  // The card that was open may have been drawn anew meanwhile.
  the("why").onclose = () => {
    const place = Math.max(hits.findIndex((one) => one.id === hit.id), 0);
    the("results").querySelectorAll(".open")[place]?.focus();
  };
  if (!hit.rank) return;
  try {
    const found = (await search(body({ k: hit.rank, explain: true, attributes: false }))).hits.find((one) => one.id === hit.id);
    if (!found) { shares.append(make("p", {}, "The index has changed since: search again.")); return; }
    if (found.words?.length) shares.append(make("h3", {}, "Nearest label words"), make("p", {}, found.words.join(" · ")));
    shares.append(make("h3", {}, "What each codebook adds"),
      make("p", {}, `The code has ${found.shares.length} bytes. Each names a word of its codebook, and what the words add up to is the ` +
        (about.metric === "ip" ? "inner product with the query: larger is closer." : "squared distance from the query: smaller is closer.")),
      bars(found.shares));
  } catch (error) { shares.append(make("p", {}, error.message)); }
}

// Parts of a mixture.

function add(asked, weight, label, image, file) {
  if (file) query.parts = query.parts.filter((part) => !part.file);
  query.parts = query.parts.filter((part) => asked.item === undefined || part.asked.item !== asked.item);
  if (parts().length >= 8) { say("A mixture has at most 8 parts: remove one first.", true); return; }
  query.parts.push({ asked, weight, label, image, file });
  drawParts();
  scrollTo({ top: 0 });
  anew();
}

function slider(part, label, image, remove) {
  const output = make("output", {}, part.weight.toFixed(1));
  const turned = (event) => {
    part.weight = Number(event.target.value);
    output.textContent = part.weight.toFixed(1);
    output.classList.toggle("less", part.weight < 0);
    anew();
  };
  output.classList.toggle("less", part.weight < 0);
  return make("li", {}, image, make("span", { className: "name", title: label }, label),
    make("input", { type: "range", min: -1, max: 1, step: 0.1, value: part.weight, "aria-label": `Weight of ${label}`, oninput: turned }),
    output, remove ? make("button", { type: "button", "aria-label": `Remove ${label}`, onclick: remove }, "×") : null);
}

function drawParts() {
  const chips = query.parts.map((part) => {
    const image = part.image ? make("img", { alt: "" }) : null;
    if (part.file) image.src = part.image;
    else if (part.image) fill(image, part.image, 64);
    return slider(part, part.label, image, () => {
      query.parts = query.parts.filter((other) => other !== part);
      drawParts();
      anew();
      the("words").focus();
    });
  });
  const words = query.words.trim();
  if (words && chips.length) chips.unshift(slider(query, `“${words}”`, null, null));
  if (!chips.length) query.weight = 1;
  the("parts").replaceChildren(...chips);
}

async function take(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / Math.max(width, height));
    const isPlain = PLAIN.includes(file.type) && file.size <= MAX_FILE && scale === 1;
    const picture = isPlain ? file : await drawn(bitmap, scale);
    add({ upload: true }, 1, file.name || "picture", URL.createObjectURL(picture), picture);
  } catch { say(`${file.name || "What was given"} is no picture that this browser can read.`, true); }
}

function drawn(bitmap, scale) {
  const side = Math.min(scale, 2048 / Math.max(bitmap.width, bitmap.height), 1);
  const canvas = make("canvas", { width: Math.max(1, Math.round(bitmap.width * side)), height: Math.max(1, Math.round(bitmap.height * side)) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("empty"))), "image/png"));
}

// Filters: what can be chosen of each attribute.

function facet([key, { kind, values, n_values, minimum, maximum }]) {
  const legend = make("legend", {}, key);
  if (kind === "int" || kind === "float") {
    if (minimum === null || minimum === maximum) return null;
    const ends = ["", ""];
    const end = (place, label, shown) => make("input", { type: "number", step: "any", placeholder: shown, "aria-label": `${key}, ${label}`,
      oninput: (event) => { ends[place] = event.target.value; chosen[key] = ends; filtered(); } });
    return make("fieldset", {}, legend, make("div", { className: "range" }, end(0, "least", minimum), "–", end(1, "most", maximum)));
  }
  if (n_values === 0) return null;
  if (n_values === null || values[0][1] === 1) {
    return make("fieldset", {}, legend, make("input", { type: "text", maxlength: 200, placeholder: "contains", "aria-label": `${key} contains`,
      oninput: (event) => { chosen[key] = event.target.value; filtered(); } }));
  }
  const box = (set) => ([value, count]) => make("label", {}, make("input", { type: "checkbox", onchange: (event) => {
    chosen[key] ??= new Set();
    chosen[key][event.target.checked ? "add" : "delete"](value);
    filtered();
  } }), make("span", {}, value.slice(set.length) || "(empty)"), make("span", { className: "count" }, number(count)));
  // Labels say which set they are of: "group:flags".
  const sets = new Map();
  for (const pair of values) {
    const set = kind === "set" ? pair[0].slice(0, pair[0].indexOf(":") + 1) : "";
    sets.set(set, [...(sets.get(set) ?? []), pair]);
  }
  const boxes = [...sets].flatMap(([set, pairs]) => [set ? make("h4", {}, set.slice(0, -1)) : null,
    make("div", { className: "values" }, ...pairs.map(box(set)))]);
  const rest = n_values > values.length ? make("p", {}, `and ${number(n_values - values.length)} more: by a condition`) : null;
  return make("fieldset", {}, legend, ...boxes, rest);
}

function filtered() {
  the("reset").hidden = !condition();
  anew();
}

function drawFacets() {
  for (const key of Object.keys(chosen)) delete chosen[key];
  the("facets").replaceChildren(...Object.entries(about.attributes).map(facet).filter(Boolean));
  the("filters").hidden = Object.keys(about.attributes).length === 0;
  if (matchMedia("(max-width: 44rem)").matches) the("filters").open = false;
}

// Everything together.

const amount = (bytes) => {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
};

function drawFigures() {
  the("figures").textContent = `${number(about.items)} items · codes of ${about.bits} bits, ${amount(about.code_bytes)} in all ` +
    `(as vectors ${amount(about.vector_bytes)}) · index ${amount(about.index_bytes)} · generation ${number(about.generation)} · SPDQ ${about.version}`;
}

function walk(event) {
  const open = [...the("results").querySelectorAll(".open")];
  const at = open.indexOf(event.target);
  if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const tops = open.map((one) => one.getBoundingClientRect().top);
  const columns = tops.filter((top) => top === tops[0]).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step) { event.preventDefault(); (open[at + step] ?? (at + step < 0 ? the("words") : open[at])).focus(); }
  const tool = { "+": ".more", "-": ".less" }[event.key];
  if (tool) { event.preventDefault(); event.target.parentElement.querySelector(tool).click(); }
}

the("words").addEventListener("input", (event) => {
  query.words = event.target.value;
  if (query.parts.length) drawParts();
  scrollTo({ top: 0 });
  anew();
});
the("words").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") { event.preventDefault(); the("results").querySelector(".open")?.focus(); }
});
the("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
the("file").addEventListener("change", (event) => {
  if (event.target.files[0]) take(event.target.files[0]);
  event.target.value = "";
});
the("where").addEventListener("input", filtered);
the("reset").addEventListener("click", () => { the("where").value = ""; drawFacets(); filtered(); });
the("more").addEventListener("click", () => { query.k = Math.min(query.k + STEP, MOST); ask(); });
the("results").addEventListener("keydown", walk);
the("why").addEventListener("click", (event) => { if (event.target === the("why")) the("why").close(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, dialog")) { event.preventDefault(); the("words").focus(); the("words").select(); }
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) { event.preventDefault(); take(file); }
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;  // Words may be dropped where they can be typed.
  event.preventDefault();
  the("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) the("drop").hidden = true; });
document.addEventListener("drop", (event) => {
  the("drop").hidden = true;
  if (!event.dataTransfer.files[0]) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  the("words").value = query.words = kept.get("text") ?? "";
  the("where").value = kept.get("where") ?? "";
}

window.addEventListener("hashchange", () => { recall(); ask(); });

async function begin() {
  recall();
  try { about = await (await fetched("v1/index")).json(); } catch (error) { say(error.message, true); return; }
  the("words").disabled = !about.searches.includes("text");
  if (the("words").disabled) the("words").placeholder = "No words here: ask for more like something";
  the("choose").hidden = !about.searches.includes("image");
  drawFacets();
  drawFigures();
  the("reset").hidden = !condition();
  if (!the("words").disabled) the("words").focus();
  await ask();
}

begin();
