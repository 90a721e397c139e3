// Draws the model and answers mouse, touch and keyboard. Texts of the file only ever become text nodes.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const data = JSON.parse(document.getElementById("data").textContent);
const model = readModel(data);
const folds = new Folds(model);
const at = (id) => document.getElementById(id);
const canvas = at("graph");
const LEGIBLE = 0.55; // the smallest scale that a picture opens at
const view = { x: 0, y: 0, scale: 1 };
let chosen = null;
let current = null; // the item that a Tab leads to
let scene = { width: 1, height: 1, items: [], places: new Map(), links: [] };

function make(name, attributes = {}, ...children) {
  const isSvg = ["svg", "g", "rect", "text", "tspan", "path", "title", "circle"].includes(name);
  const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// --- words ------------------------------------------------------------------------------------------------------------

function headOf(box) {
  const run = folds.folded(box.run) ? box.run : null;
  const last = run === null ? box : run.copies[run.copies.length - 1];
  const name = last.name === box.name ? box.name : `${box.name} … ${last.name}`;
  const times = run === null ? "" : `×${run.copies.length}${last.fqn && last.fqn === box.fqn ? ", the same module" : ""}`;
  return [name, times].filter(Boolean).join("  ");
}

function linesOf(box) {
  const head = headOf(box);
  return { head: head || box.gist, gist: head ? box.gist : "" };
}

function marksOf(box) {
  const marks = box.detail === null ? [] : box.detail.marks;
  return [...new Set(marks.map((mark) => mark.split(/[ :]/)[0]))].map((mark) => `[${mark}]`).join(" ");
}

const called = (box) => box.fqn && box.kind !== "function" ? box.fqn : headOf(box) || box.gist || box.label;

function isWithin(box, outer) {
  for (let here = box; here !== null; here = here.parent) if (here === outer) return true;
  return false;
}

/** The links that lead into a box or out of it, through its frame if it is open. */
const linksInto = (box) => scene.links.filter((link) => isWithin(link.target, box) && !isWithin(link.source, box));
const linksOutOf = (box) => scene.links.filter((link) => isWithin(link.source, box) && !isWithin(link.target, box));

/** What a screen reader says of a box. */
function spoken(box) {
  const { head, gist } = linesOf(box);
  const parts = [head, gist, data.words[box.colour], marksOf(box)];
  if (box.shapes.length) parts.push(`gives ${box.shapes.join(" and ")}`);
  const from = linksInto(box).map((link) => called(link.source));
  const to = linksOutOf(box).map((link) => called(link.target));
  if (from.length) parts.push(`from ${from.join(", ")}`);
  if (to.length) parts.push(`to ${to.join(", ")}`);
  return parts.filter(Boolean).join("; ");
}

const tell = (text) => { at("status").textContent = text; };

// --- sizes ------------------------------------------------------------------------------------------------------------

const pen = document.createElement("canvas").getContext("2d");
const FACE = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
function textWidth(text, font) { pen.font = `${font} ${FACE}`; return pen.measureText(text).width; }

const measure = {
  node(box) {
    const { head, gist } = linesOf(box);
    const marks = marksOf(box);
    if (box.kind === "function" && head.length === 1) return { width: 26, height: 26 };
    const widths = [textWidth(head, gist ? "600 12px" : "12px"), textWidth(gist, "11px"), textWidth(marks, "600 10px")];
    const lines = 1 + (gist ? 1 : 0) + (marks ? 1 : 0);
    return { width: Math.max(44, Math.max(...widths) + (box.children.length ? 42 : 24)), height: 10 + 15 * lines };
  },
  label(lines) {
    return { width: Math.max(...lines.map((line) => textWidth(line, "10px"))) + 8, height: 12 * lines.length + 2 };
  },
  title(box) {
    const { head, gist } = linesOf(box);
    return textWidth(head, "600 12px") + textWidth(gist, "11px") + textWidth(marksOf(box), "600 10px") + 34;
  },
};

// --- drawing ------------------------------------------------------------------------------------------------------------

/** Lay out and draw what is seen. `anchorBox` stays where it is on the screen. */
function render(anchorBox = null) {
  const before = anchorBox === null ? undefined : scene.places.get(anchorBox.id);
  const wiring = wire(model, folds);
  const plan = layOut(model.root, folds, wiring, measure);
  const frames = make("g", { "aria-hidden": "true" });
  const edges = make("g", { "aria-hidden": "true" });
  const labels = make("g", { "aria-hidden": "true" });
  const items = make("g", { role: "group" });
  scene = { width: plan.width, height: plan.height, items: [], places: new Map(), links: wiring.links };
  paint(plan, 0, 0, 0, { frames, edges, labels, items });
  const order = new Map(scene.items.map((item) => [item.box.id, item]));
  scene.items = [...order.values()].sort((one, other) => one.box.id - other.box.id);
  items.replaceChildren(...scene.items.map((item) => item.element));
  canvas.replaceChildren(make("g", { id: "camera" }, frames, edges, labels, items));
  if (chosen !== null && !scene.places.has(chosen.id)) choose(null);
  current = scene.items.find((item) => current !== null && item.box === current.box) || scene.items[0] || null;
  for (const item of scene.items) item.element.setAttribute("tabindex", item === current ? "0" : "-1");
  const after = anchorBox === null ? undefined : scene.places.get(anchorBox.id);
  if (before !== undefined && after !== undefined) {
    view.x += (before.x - after.x) * view.scale;
    view.y += (before.y - after.y) * view.scale;
  }
  light();
  move();
}

function paint(plan, x, y, depth, layers) {
  for (const edge of plan.edges) paintEdge(edge, x, y, depth, layers);
  for (const node of plan.nodes) {
    const place = { x: x + node.x, y: y + node.y, width: node.width, height: node.height };
    register(node.box, place, paintNode(node.box, place));
  }
  for (const frame of plan.frames) {
    const place = { x: x + frame.x, y: y + frame.y, width: frame.width, height: frame.height };
    const run = folds.folded(frame.box.run) ? " run" : "";
    layers.frames.append(make("rect", { class: `frame depth-${(depth + 1) % 4}${run}`, "data-id": frame.box.id, rx: 10, ...place }));
    register(frame.box, place, paintTitle(frame.box, place, depth + 1));
    paint(frame.plan, place.x, place.y, depth + 1, layers);
  }
}

function register(box, place, element) {
  scene.places.set(box.id, place);
  scene.items.push({ box, element });
}

function itemOf(box, isFrame) {
  const opens = box.children.length > 0;
  return make("g", {
    class: `item kind-${box.kind}`, role: "treeitem", "data-id": box.id, "aria-level": box.level,
    "aria-expanded": opens ? String(isFrame) : null, "aria-label": spoken(box), "aria-selected": String(chosen === box),
  });
}

function paintNode(box, { x, y, width, height }) {
  const element = itemOf(box, false);
  const { head, gist } = linesOf(box);
  const marks = marksOf(box);
  const fill = `body k-${box.colour}`;
  if (width === height && head.length === 1) {
    element.append(make("circle", { class: fill, cx: x + width / 2, cy: y + height / 2, r: width / 2 }));
    element.append(make("text", { class: "name", x: x + width / 2, y: y + height / 2 + 4.5, "text-anchor": "middle" }, head));
    return element;
  }
  const rx = box.kind === "input" || box.kind === "output" ? height / 2 : 7;
  if (folds.folded(box.run)) {
    for (const shift of [6, 3]) element.append(make("rect", { class: `pile k-${box.colour}`, x: x + shift, y: y + shift, width, height, rx }));
  }
  element.append(make("rect", { class: fill, x, y, width, height, rx }));
  const middle = x + width / 2 - (box.children.length ? 7 : 0);
  let line = y + 17;
  const write = (kind, text) => { element.append(make("text", { class: kind, x: middle, y: line, "text-anchor": "middle" }, text)); line += 15; };
  write(gist ? "name" : "gist", head);
  if (gist) write("gist", gist);
  if (marks) write("marks", marks);
  if (box.children.length) element.append(make("text", { class: "hint", x: x + width - 16, y: y + height / 2 + 4 }, "▸"));
  return element;
}

function paintTitle(box, { x, y }, depth) {
  const element = itemOf(box, true);
  const { head, gist } = linesOf(box);
  const width = measure.title(box);
  element.append(make("rect", { class: `title-body depth-${depth % 4}`, x: x + 6, y: y + 4, width, height: 20, rx: 5 }));
  element.append(make("text", { x: x + 12, y: y + 18 },
    make("tspan", { class: "hint" }, "▾ "), make("tspan", { class: "name" }, head),
    make("tspan", { class: "gist", dx: 7 }, gist), make("tspan", { class: "marks", dx: 6 }, marksOf(box))));
  return element;
}

function paintEdge(edge, x, y, depth, layers) {
  const points = edge.points.map((point) => ({ x: x + point.x, y: y + point.y }));
  const last = points[points.length - 1];
  const tip = edge.arrow ? { x: last.x, y: last.y - 5 } : last;
  const path = curve([...points.slice(0, -1), tip]);
  const kinds = [edge.skip ? " skip" : "", edge.links.every((link) => link.source.kind === "state") ? " reading" : ""].join("");
  const ends = edge.links.map((link) => `${link.source.id}-${link.target.id}`).join(" ");
  layers.edges.append(make("path", { class: `edge${kinds}`, d: path, "data-ends": ends }));
  if (edge.arrow) {
    const head = `M${last.x} ${last.y}l-3.6 -7h7.2z`;
    layers.edges.append(make("path", { class: `head${edge.skip ? " skip" : ""}`, d: head, "data-ends": ends }));
  }
  const said = edge.links.map((link) => {
    const via = [...link.via].join("; ");
    return `${called(link.source)} → ${called(link.target)}: ${[...link.shapes].join(", ")}${via ? ` (${via})` : ""}`;
  });
  layers.edges.append(make("path", { class: "hit", d: path }, make("title", {}, said.join("\n"))));
  if (edge.label !== null) {
    const size = measure.label(edge.labels);
    layers.labels.append(make("rect", {
      class: `behind depth-${depth % 4}${depth ? "" : " outermost"}`, x: x + edge.label.x - size.width / 2, y: y + edge.label.y - size.height / 2, ...size,
    }));
    edge.labels.forEach((text, line) => layers.labels.append(make("text", {
      class: `label${edge.skip ? " skip" : ""}`, x: x + edge.label.x,
      y: y + edge.label.y + 3.5 + 12 * (line - (edge.labels.length - 1) / 2),
    }, text)));
  }
}

/** A line that leaves and arrives upright at each of its points. */
function curve(points) {
  let path = `M${points[0].x} ${points[0].y}`;
  for (let k = 1; k < points.length; k += 1) {
    const [one, other] = [points[k - 1], points[k]];
    const middle = (one.y + other.y) / 2;
    path += Math.abs(one.x - other.x) < 0.5 ? `L${other.x} ${other.y}` : `C${one.x} ${middle} ${other.x} ${middle} ${other.x} ${other.y}`;
  }
  return path;
}

// --- the camera ---------------------------------------------------------------------------------------------------------

function move() {
  const camera = at("camera");
  if (camera !== null) camera.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
}

/** Show the whole picture; no smaller than `smallest`, from its beginning then. */
function fit(smallest = 0.02) {
  const { width, height } = canvas.getBoundingClientRect();
  view.scale = Math.max(smallest, Math.min(1.4, (width - 24) / scene.width, (height - 24) / scene.height));
  view.x = (width - scene.width * view.scale) / 2;
  view.y = Math.max(0, (height - scene.height * view.scale) / 2);
  move();
}

function zoom(factor, x, y) {
  const box = canvas.getBoundingClientRect();
  const [cx, cy] = [x === undefined ? box.width / 2 : x - box.left, y === undefined ? box.height / 2 : y - box.top];
  const scale = Math.min(6, Math.max(0.02, view.scale * factor));
  view.x = cx - (cx - view.x) * (scale / view.scale);
  view.y = cy - (cy - view.y) * (scale / view.scale);
  view.scale = scale;
  move();
}

/** Bring a box into sight, legibly. */
function centre(box) {
  const place = scene.places.get(box.id);
  if (place === undefined) return;
  const { width, height } = canvas.getBoundingClientRect();
  view.scale = Math.max(view.scale, Math.min(1, (width - 40) / place.width, (height - 40) / place.height));
  view.x = width / 2 - (place.x + place.width / 2) * view.scale;
  view.y = Math.min(height / 2, height / 2) - (place.y + Math.min(place.height, height / view.scale) / 2) * view.scale;
  move();
}

/** Move no further than needed for a box to be in sight. */
function show(box) {
  const place = scene.places.get(box.id);
  const { width, height } = canvas.getBoundingClientRect();
  const [x, y] = [place.x * view.scale + view.x, place.y * view.scale + view.y];
  if (x < 0 || y < 0 || x + Math.min(place.width * view.scale, 200) > width || y + 30 * view.scale > height) centre(box);
}

// --- folding and choosing -------------------------------------------------------------------------------------------------

function toggle(box) {
  if (!box.children.length || box.parent === null) return;
  const isOpen = folds.isOpen(box);
  if (isOpen) folds.open.delete(box.id); else folds.open.add(box.id);
  render(box);
  tell(isOpen ? `${called(box)} folded` : `${called(box)} opened: ${folds.shown(box).length} boxes`);
  if (chosen === box) describe(box);
}

function unroll(box) {
  const { first, copies } = box.run;
  const isFolded = folds.folded(box.run);
  if (isFolded) folds.unrolled.add(first); else folds.unrolled.delete(first);
  choose(copies[0]);
  render(copies[0]);
  describe(copies[0]);
  tell(isFolded ? `${copies.length} copies are shown` : `${copies.length} copies are folded to one`);
}

function choose(box) {
  chosen = box;
  for (const item of scene.items) {
    item.element.classList.toggle("chosen", item.box === box);
    item.element.setAttribute("aria-selected", String(item.box === box));
  }
  light();
  if (box === null) { at("panel").hidden = true; return; }
  describe(box);
}

/** Light up the arrows of the chosen box. */
function light() {
  for (const path of canvas.querySelectorAll("[data-ends]")) {
    const pairs = path.getAttribute("data-ends").split(" ").map((pair) => pair.split("-").map((id) => isWithin(model.boxes[id], chosen)));
    path.classList.toggle("lit", chosen !== null && pairs.some(([source, target]) => source !== target));
  }
}

function focusItem(item) {
  if (item === undefined || item === null) return;
  if (current !== null) current.element.setAttribute("tabindex", "-1");
  current = item;
  item.element.setAttribute("tabindex", "0");
  item.element.focus({ preventScroll: true });
  show(item.box);
}

const itemFor = (box) => scene.items.find((item) => item.box === box);

// --- the panel ------------------------------------------------------------------------------------------------------------

/** Show what is known of a box; `equal` is one that it stands for, if that was asked for. */
function describe(box, equal = null) {
  const panel = at("panel");
  const detail = box.detail;
  const { head, gist } = linesOf(box);
  const parts = [];
  const close = make("button", { class: "close", "aria-label": "Close the details" }, "×");
  close.addEventListener("click", () => { choose(null); });
  parts.push(close, make("h2", {}, head), make("p", {}, gist));
  if (box.fqn) parts.push(make("p", { class: "soft" }, box.fqn));
  if (equal !== null) parts.push(make("p", {}, `Drawn for its equal ${called(equal)} as well`));
  for (const [name, cls] of box.joined) parts.push(make("p", { class: "soft" }, `all that it holds: ${name} (${cls})`));
  if (detail !== null) parts.push(...detail.marks.map((mark) => make("span", { class: "mark" }, mark)));
  parts.push(actions(box));
  if (detail !== null && detail.description) parts.push(make("p", {}, detail.description));
  section(parts, "Shapes", wiresOf(box));
  if (detail !== null) {
    section(parts, "Arguments", Object.entries(detail.arguments));
    const frozen = detail.frozen ? `, ${detail.frozen.toLocaleString("en")} frozen` : "";
    const title = `Parameters: ${detail.parameters.toLocaleString("en")}${frozen}`;
    if (detail.parameters || detail.state.length) section(parts, title, detail.state.map(([name, shape, remark]) => [name, `${shape} ${remark}`]), true);
  }
  excerpt(parts, "In the file", detail !== null && detail.place[1] ? detail.place : box.place);
  if (detail !== null && detail.defined[1]) excerpt(parts, "Defined", detail.defined);
  if (box.place && detail !== null && detail.place[1] && String(box.place) !== String(detail.place)) excerpt(parts, "Called", box.place, 3);
  panel.replaceChildren(...parts);
  const wasHidden = panel.hidden;
  panel.hidden = false;
  panel.scrollTop = 0;
  if (wasHidden && scene.places.has(box.id)) show(box);
}

function actions(box) {
  const row = make("div", { class: "actions" });
  const add = (text, act) => { const button = make("button", {}, text); button.addEventListener("click", act); row.append(button); };
  if (box.children.length) add(folds.isOpen(box) ? "Fold" : "Open", () => toggle(box));
  if (box.run !== null && box.run.copies.length <= LARGEST_RUN) {
    add(folds.folded(box.run) ? `Show all ${box.run.copies.length}` : `Fold ${box.run.copies.length} to one`, () => unroll(box));
  }
  if (box.parent !== null && box.parent.parent !== null) add("Fold the box around it", () => { const around = box.parent; choose(around); toggle(around); });
  return row;
}

function wiresOf(box) {
  const rows = linksInto(box).map((link) => [`from ${called(link.source)}`, reshaped(link)]);
  if (box.shapes.length) rows.push(["gives", box.shapes.join(", ")]);
  rows.push(...linksOutOf(box).map((link) => [`to ${called(link.target)}`, reshaped(link)]));
  if (rows.length > 40) rows.splice(40, rows.length, ["…", `${rows.length - 40} more`]);
  return rows;
}

function reshaped(link) {
  const via = [...link.via].join("; ");
  return [...link.shapes].join(", ") + (via ? ` (${via})` : "");
}

function section(parts, title, rows, always = false) {
  if (!rows.length && !always) return;
  parts.push(make("h3", {}, title));
  if (rows.length) parts.push(make("table", {}, make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, String(cell))))))));
}

/** The lines of the file at a place: the line itself, and what is indented below it. */
function excerpt(parts, title, place, most = 14) {
  if (!place || !place[1] || data.files[place[0]] === undefined) return;
  const [file, number] = place;
  const lines = data.files[file].split(/\r\n|[\n\r\u0085\u2028\u2029]/); // the line breaks of YAML
  if (number > lines.length) return;
  const depth = (line) => line.length - line.trimStart().length;
  let end = number;
  while (end < lines.length && end - number + 1 < most && (lines[end].trim() === "" || depth(lines[end]) > depth(lines[number - 1]))) end += 1;
  while (end > number && lines[end - 1].trim() === "") end -= 1;
  const pre = make("pre", {});
  for (let line = number; line <= end; line += 1) pre.append(make("i", {}, `${String(line).padStart(4)}  `), `${lines[line - 1]}\n`);
  parts.push(make("h3", {}, `${title}: ${file}:${number}`), pre);
}

// --- searching ------------------------------------------------------------------------------------------------------------

let found = [];
let picked = 0;

function search() {
  const wanted = at("query").value.trim().toLowerCase();
  const ranked = [];
  if (wanted) {
    for (const box of model.boxes) {
      if (box.parent === null) continue;
      const names = [box.fqn && box.kind !== "function" ? box.fqn : box.name, box.label, ...box.joined.flat()].map((name) => name.toLowerCase());
      const rank = Math.min(...names.map((name) => (name === wanted ? 0 : name.endsWith(`.${wanted}`) ? 1 : name.startsWith(wanted) ? 2 : name.includes(wanted) ? 3 : 9)));
      if (rank < 9) ranked.push([rank, box.level, box]);
    }
  }
  ranked.sort((one, other) => one[0] - other[0] || one[1] - other[1] || one[2].id - other[2].id);
  found = ranked.slice(0, 40).map((row) => row[2]);
  picked = 0;
  list(wanted, ranked.length);
}

function list(wanted, total) {
  const rows = found.map((box, index) => {
    const row = make("li", { role: "option", id: `found-${index}`, "aria-selected": String(index === picked) },
      called(box), " ", make("small", {}, box.kind === "module" ? box.label : data.words[box.colour]));
    row.addEventListener("mousedown", (event) => { event.preventDefault(); go(index); });
    return row;
  });
  if (wanted && !rows.length) rows.push(make("li", { "aria-disabled": "true" }, "nothing is so called"));
  at("found").replaceChildren(...rows);
  at("found").hidden = !wanted;
  at("query").setAttribute("aria-expanded", String(Boolean(wanted)));
  if (found.length) at("query").setAttribute("aria-activedescendant", `found-${picked}`); else at("query").removeAttribute("aria-activedescendant");
  if (wanted) tell(`${total} found`);
}

function go(index) {
  const box = found[index];
  if (box === undefined) return;
  closeSearch();
  const seen = folds.reveal(box);
  render();
  choose(seen);
  if (called(seen) !== called(box)) describe(seen, box);
  centre(seen);
  focusItem(itemFor(seen));
}

function closeSearch() {
  at("found").hidden = true;
  at("query").setAttribute("aria-expanded", "false");
}

at("query").addEventListener("input", search);
at("query").addEventListener("focus", search);
at("query").addEventListener("blur", closeSearch);
at("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter") go(picked);
  else if (event.key === "Escape") { at("query").value = ""; closeSearch(); if (current !== null) focusItem(current); }
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && found.length) {
    picked = (picked + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
    list(at("query").value.trim(), found.length);
    at("found").children[picked].scrollIntoView({ block: "nearest" });
    event.preventDefault();
  }
  event.stopPropagation();
});

// --- mouse and touch --------------------------------------------------------------------------------------------------------

const boxAt = (target) => {
  const element = target.closest("[data-id]");
  return element === null ? null : model.boxes[Number(element.getAttribute("data-id"))];
};

const pointers = new Map();
let moved = false;
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  moved = false;
});
canvas.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (last === undefined) return;
  const now = { x: event.clientX, y: event.clientY };
  if (!moved && Math.hypot(now.x - last.x, now.y - last.y) < 4) return;
  if (!moved) { moved = true; canvas.setPointerCapture(event.pointerId); canvas.classList.add("moving"); }
  const other = [...pointers].find(([id]) => id !== event.pointerId);
  if (other !== undefined) {
    const apart = (point) => Math.hypot(point.x - other[1].x, point.y - other[1].y);
    zoom(apart(now) / Math.max(1, apart(last)), (now.x + other[1].x) / 2, (now.y + other[1].y) / 2);
  } else {
    view.x += now.x - last.x;
    view.y += now.y - last.y;
    move();
  }
  pointers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => { pointers.delete(event.pointerId); canvas.classList.remove("moving"); });
}
canvas.addEventListener("click", (event) => {
  if (moved) { moved = false; return; }
  const box = boxAt(event.target);
  choose(box);
  if (box !== null) focusItem(itemFor(box));
});
canvas.addEventListener("dblclick", (event) => {
  const box = boxAt(event.target);
  if (box !== null) { toggle(box); focusItem(itemFor(box)); }
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.clientX, event.clientY);
}, { passive: false });

// --- keyboard ---------------------------------------------------------------------------------------------------------------

const KEYS = {
  ArrowDown: (place) => focusItem(scene.items[Math.min(place + 1, scene.items.length - 1)]),
  ArrowUp: (place) => focusItem(scene.items[Math.max(place - 1, 0)]),
  Home: () => focusItem(scene.items[0]),
  End: () => focusItem(scene.items[scene.items.length - 1]),
  ArrowRight: (place, box) => {
    if (box.children.length && !folds.isOpen(box)) { toggle(box); focusItem(itemFor(box)); }
    else if (box.children.length) focusItem(itemFor(folds.shown(box)[0]));
  },
  ArrowLeft: (place, box) => {
    if (folds.isOpen(box)) { toggle(box); focusItem(itemFor(box)); }
    else if (box.parent.parent !== null) focusItem(itemFor(box.parent));
  },
  Enter: (place, box) => {
    if (box.children.length) { toggle(box); focusItem(itemFor(box)); }
    choose(box);
  },
  " ": (place, box) => choose(box),
};

canvas.addEventListener("keydown", (event) => {
  const box = boxAt(event.target);
  if (box === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act(scene.items.findIndex((item) => item.box === box), box);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input") !== null) return;
  if (event.key === "/") { at("query").focus(); at("query").select(); event.preventDefault(); }
  else if (event.key === "Escape") choose(null);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
});

// --- buttons ----------------------------------------------------------------------------------------------------------------

at("fit").addEventListener("click", () => fit());
at("in").addEventListener("click", () => zoom(1.25));
at("out").addEventListener("click", () => zoom(0.8));
at("less").addEventListener("click", () => {
  folds.open = new Set([model.root.id]);
  folds.unrolled.clear();
  render();
  fit();
  tell("everything is folded");
});
at("more").addEventListener("click", () => {
  const closed = scene.items.map((item) => item.box).filter((box) => box.children.length && !folds.isOpen(box));
  const level = Math.min(...closed.map((box) => box.level));
  const opening = closed.filter((box) => box.level === level);
  for (const box of opening) folds.open.add(box.id);
  render();
  fit(LEGIBLE);
  tell(`${opening.length} boxes opened`);
});

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = (isDark) => { document.documentElement.dataset.theme = isDark ? "dark" : "light"; };
setTheme(prefersDark.matches);
prefersDark.addEventListener("change", (event) => setTheme(event.matches));
at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));

let themeOnScreen = "";
addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  setTheme(false);
  canvas.setAttribute("viewBox", `0 0 ${scene.width} ${scene.height}`);
  at("camera").removeAttribute("transform");
});
addEventListener("afterprint", () => { setTheme(themeOnScreen === "dark"); canvas.removeAttribute("viewBox"); move(); });

// --- the start ----------------------------------------------------------------------------------------------------------------

function legend() {
  const kinds = [...new Set(model.boxes.map((box) => box.colour))].filter((kind) => kind !== "module");
  const swatch = (kind) => make("span", {}, make("svg", { viewBox: "0 0 18 12" }, make("rect", { class: `k-${kind}`, x: 0.5, y: 0.5, width: 17, height: 11, rx: 3 })), data.words[kind]);
  const lines = [
    "Blue arrows are short cuts (residual connections): there is a longer way between the same boxes. A pile ×N stands for N equal boxes, one after the other.",
    "Double click or Enter opens and folds; a click shows details. Arrow keys go from box to box, / searches, + − 0 zoom, Escape closes.",
  ];
  const colours = [...new Set(kinds.map((kind) => data.words[kind]))].map((word) => kinds.find((kind) => data.words[kind] === word));
  at("legend-body").append(make("div", {}, ...colours.map(swatch)), ...lines.map((line) => make("p", {}, line)));
}

at("title").textContent = data.title;
at("subtitle").textContent = data.subtitle;
at("notes").textContent = data.notes.join(" ");
canvas.setAttribute("aria-label", `Modules of ${data.title}`);
legend();
render();
fit(LEGIBLE);
