// Which boxes of the model are seen, how they are wired, and where they stand. Draws nothing.
//
// Each open box is laid out by itself (by dagre) and is then one node of the box around it, so that opening a box costs
// as much as there is in it. An arrow that crosses the frame of a box goes through a port on its upper or lower edge.
"use strict";

const HEADER = 26; // height of the title of an open box
const PAD = 14;
const LARGEST_RUN = 200; // copies of a run that are ever drawn one by one

/** The boxes as the page's data has them, linked to each other. */
function readModel(data) {
  const boxes = data.boxes.map((row, id) => ({
    id, parent: null, index: 0, children: [], level: 0, run: null,
    kind: row.k, name: row.n || "", label: row.l || "", fqn: row.f || "", colour: row.c || "module", gist: row.g || "",
    shapes: row.s || [], times: row.t || 1, place: row.at || null, joined: row.j || [], startsOpen: Boolean(row.open),
    detail: row.d === undefined ? null : data.details[row.d],
  }));
  data.boxes.forEach((row, id) => {
    if (row.p === undefined) return;
    const box = boxes[id];
    box.parent = boxes[row.p];
    box.level = box.parent.level + 1;
    box.index = box.parent.children.length;
    box.parent.children.push(box);
  });
  for (const [first, count] of data.runs) {
    const row = boxes[first].parent.children;
    const copies = row.slice(boxes[first].index, boxes[first].index + count);
    copies.forEach((box, copy) => { box.run = { first, copies, copy }; });
  }
  const arrows = data.arrows.map(([source, target, shape, via]) => ({
    source: boxes[source], target: boxes[target], shape: data.texts[shape],
    via: via === undefined ? "" : data.texts[via], told: false,
  }));
  for (const arrow of arrows) {
    arrow.told = [arrow.source, arrow.target].some(
      (box) => ["input", "output", "state"].includes(box.kind) && box.shapes[0] === arrow.shape);
  }
  return { root: boxes[0], boxes, arrows, wired: data.wired };
}

/** What stands open, and which runs are drawn copy by copy. */
class Folds {
  constructor(model) {
    this.model = model;
    this.open = new Set(model.boxes.filter((box) => box.startsOpen).map((box) => box.id));
    this.unrolled = new Set();
  }

  isOpen(box) { return box.children.length > 0 && this.open.has(box.id); }

  folded(run) { return run !== null && !this.unrolled.has(run.first); }

  /** The children that are drawn: of a run that is folded the first copy alone. */
  shown(box) { return box.children.filter((child) => !this.folded(child.run) || child.run.copy === 0); }

  /** The boxes that stand for each box: its counterpart in the first copies, and what is seen of it. */
  standIns() {
    const { boxes } = this.model;
    const counterpart = new Array(boxes.length);
    const seen = new Array(boxes.length);
    for (const box of boxes) { // a box comes after the one around it
      if (box.parent === null) { counterpart[box.id] = seen[box.id] = box; continue; }
      const around = counterpart[box.parent.id];
      let here = around.children[box.index];
      if (this.folded(here.run)) here = here.run.copies[0];
      counterpart[box.id] = here;
      const isShown = seen[box.parent.id] === around && this.isOpen(around);
      seen[box.id] = isShown ? here : seen[box.parent.id];
    }
    return { counterpart, seen };
  }

  /** Open everything around a box so that it, or its counterpart in a first copy, is seen; the box that is seen. */
  reveal(box) {
    for (let here = box; here !== null; here = here.parent) {
      const { run } = here;
      if (run !== null && run.copy > 0 && run.copies.length <= LARGEST_RUN) this.unrolled.add(run.first);
    }
    const { counterpart } = this.standIns();
    for (let here = counterpart[box.id].parent; here !== null; here = here.parent) this.open.add(here.id);
    return counterpart[box.id];
  }
}

/** The arrows between what is seen, level by level: for each open box its inner edges, with ports for what crosses. */
function wire(model, folds) {
  const { counterpart, seen } = folds.standIns();
  const links = new Map(); // what is seen, by "source target"
  for (const arrow of model.arrows) {
    const source = seen[arrow.source.id];
    const target = seen[arrow.target.id];
    if (source === target || folds.isOpen(target) || betweenCopies(arrow, counterpart)) continue;
    const key = `${source.id} ${target.id}`;
    if (!links.has(key)) links.set(key, { source, target, labels: new Set(), shapes: new Set(), via: new Set(), skip: false });
    const link = links.get(key);
    link.shapes.add(arrow.shape);
    if (!arrow.told) link.labels.add(arrow.shape);
    if (arrow.via) link.via.add(arrow.via);
  }
  const list = [...links.values()];
  markSkips(list);
  const levels = new Map();
  for (const link of list) route(link, levels);
  return { links: list, levels };
}

/** Whether an arrow goes from one copy of a folded run to another, which the fold leaves out. */
function betweenCopies(arrow, counterpart) {
  let one = arrow.source;
  let other = arrow.target;
  while (one.level > other.level) one = one.parent;
  while (other.level > one.level) other = other.parent;
  while (one.parent !== other.parent) { one = one.parent; other = other.parent; }
  return one !== other && counterpart[one.id] === counterpart[other.id];
}

/** Mark the links that have a longer way beside them: residual connections and other shortcuts. */
function markSkips(links) {
  const onward = new Map();
  for (const link of links) {
    if (!onward.has(link.source)) onward.set(link.source, []);
    onward.get(link.source).push(link.target);
  }
  for (const link of links) {
    const waiting = onward.get(link.source).filter((box) => box !== link.target);
    const reached = new Set(waiting);
    while (waiting.length && !link.skip) {
      for (const next of onward.get(waiting.pop()) || []) {
        if (next === link.target) { link.skip = true; break; }
        if (next.id < link.target.id && !reached.has(next)) { reached.add(next); waiting.push(next); }
      }
    }
  }
}

/** Put a link into the levels it goes through: out of the boxes around its source, across, into those of its target. */
function route(link, levels) {
  const { source, target } = link;
  const net = source.id;
  const outer = new Set();
  for (let box = source.parent; box !== null; box = box.parent) outer.add(box);
  const inward = [];
  let here = target;
  while (!outer.has(here.parent)) { inward.unshift(here); here = here.parent; }
  const meeting = here.parent;
  let from = source;
  while (from.parent !== meeting) {
    addEdge(levels, from.parent, `n${from.id}`, `out${net}`, net, link, false);
    from = from.parent;
  }
  addEdge(levels, meeting, `n${from.id}`, `n${here.id}`, net, link, true);
  for (const box of inward) addEdge(levels, box.parent, `in${net}`, `n${box.id}`, net, link, false);
}

function addEdge(levels, level, from, to, net, link, isMain) {
  if (!levels.has(level)) levels.set(level, new Map());
  const key = `${from} ${to} ${net}`;
  const edges = levels.get(level);
  if (!edges.has(key)) edges.set(key, { from, to, net, links: [], isMain });
  edges.get(key).links.push(link);
}

function labelOf(edge) {
  if (!edge.isMain) return [];
  const labels = [...new Set(edge.links.flatMap((link) => [...link.labels]))];
  return labels.length > 2 ? [labels[0], `+${labels.length - 1} more`] : labels;
}

/** Lay out one open box and, before it, those that are open inside it. `measure` gives sizes of nodes and labels. */
function layOut(box, folds, wiring, measure) {
  const children = folds.shown(box);
  const inner = new Map();
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 26, edgesep: 16, ranksep: 24, marginx: 0, marginy: 0 });
  for (const child of children) {
    if (folds.isOpen(child)) {
      const plan = layOut(child, folds, wiring, measure);
      inner.set(child.id, plan);
      graph.setNode(`n${child.id}`, { width: plan.width, height: plan.height });
    } else {
      graph.setNode(`n${child.id}`, measure.node(child));
    }
  }
  const edges = [...(wiring.levels.get(box) || new Map()).values()];
  const ports = { in: new Set(), out: new Set() };
  for (const edge of edges) {
    for (const end of [edge.from, edge.to]) {
      const side = /^(in|out)/.exec(end);
      if (side !== null) ports[side[0]].add(end);
    }
  }
  for (const port of [...ports.in, ...ports.out]) graph.setNode(port, { width: 10, height: 0 });
  const taking = new Set(edges.map((edge) => edge.to));
  const giving = new Set(edges.map((edge) => edge.from));
  anchor(graph, "top", ports.in, children.filter((child) => !taking.has(`n${child.id}`)));
  anchor(graph, "bottom", ports.out, children.filter((child) => !giving.has(`n${child.id}`)));
  for (const edge of edges) {
    edge.labels = labelOf(edge);
    edge.skip = edge.links.every((link) => link.skip);
    const size = edge.labels.length ? measure.label(edge.labels) : { width: 0, height: 0 };
    graph.setEdge(edge.from, edge.to, { ...size, labelpos: "c", weight: edge.skip ? 1 : 4 }, String(edge.net));
  }
  if (!wiring.links.length) stack(graph, children);
  dagre.layout(graph);
  return finish(box, children, inner, edges, ports, graph, measure);
}

/** Keep ports at the rim: they hang on a node that stands above (or below) everything else. */
function anchor(graph, name, ports, loose) {
  if (!ports.size) return;
  graph.setNode(name, { width: 0, height: 0 });
  const tie = (end, weight) => (name === "top"
    ? graph.setEdge(name, end, { width: 0, height: 0, weight, minlen: weight ? 1 : 2 })
    : graph.setEdge(end, name, { width: 0, height: 0, weight, minlen: weight ? 1 : 2 }));
  for (const port of ports) tie(port, 60);
  for (const child of loose) tie(`n${child.id}`, 0);
}

/** Without arrows, what a box holds stands in rows, in order. */
function stack(graph, children) {
  const columns = Math.max(1, Math.round(Math.sqrt(children.length / 3)));
  children.forEach((child, index) => {
    if (index >= columns) graph.setEdge(`n${children[index - columns].id}`, `n${child.id}`, { width: 0, height: 0 });
  });
}

/** From dagre's coordinates to those of the box: its upper left corner is 0, 0. */
function finish(box, children, inner, edges, ports, graph, measure) {
  const places = new Map(graph.nodes().map((name) => [name, graph.node(name)]));
  const halves = new Map(); // half the height of each rank, by its middle
  let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
  for (const child of children) {
    const place = places.get(`n${child.id}`);
    const middle = Math.round(place.y * 10);
    halves.set(middle, Math.max(halves.get(middle) || 0, place.height / 2));
    left = Math.min(left, place.x - place.width / 2);
    right = Math.max(right, place.x + place.width / 2);
    top = Math.min(top, place.y - place.height / 2);
    bottom = Math.max(bottom, place.y + place.height / 2);
  }
  const drawn = edges.map((edge) => ({ ...edge, at: graph.edge(edge.from, edge.to, String(edge.net)) }));
  for (const edge of drawn) {
    for (const point of edge.at.points) { left = Math.min(left, point.x); right = Math.max(right, point.x); }
    if (edge.labels.length) {
      left = Math.min(left, edge.at.x - edge.at.width / 2);
      right = Math.max(right, edge.at.x + edge.at.width / 2);
    }
  }
  straighten(ports.in, drawn, places, inner, (edge) => edge.from, (edge) => edge.at.points[1]);
  straighten(ports.out, drawn, places, inner, (edge) => edge.to, (edge) => edge.at.points[edge.at.points.length - 2]);
  const isRoot = box.parent === null;
  const head = isRoot ? PAD : HEADER + (ports.in.size ? 24 : 6);
  const title = isRoot ? 0 : measure.title(box) + 2 * PAD;
  const width = Math.max(right - left + 2 * PAD, title);
  for (const port of [...ports.in, ...ports.out]) {
    places.get(port).x = Math.min(right, Math.max(left, places.get(port).x));
  }
  const dx = (width - (right - left)) / 2 - left;
  const dy = head - top;
  const height = bottom + dy + PAD + (ports.out.size ? 4 : 0);
  const plan = { box, width, height, nodes: [], frames: [], edges: [], ins: new Map(), outs: new Map() };
  for (const port of ports.in) plan.ins.set(port.slice(2), places.get(port).x + dx);
  for (const port of ports.out) plan.outs.set(port.slice(3), places.get(port).x + dx);
  for (const child of children) {
    const { x, y, width: w, height: h } = places.get(`n${child.id}`);
    const item = { box: child, x: x + dx - w / 2, y: y + dy - h / 2, width: w, height: h, plan: inner.get(child.id) || null };
    (item.plan ? plan.frames : plan.nodes).push(item);
    places.set(`n${child.id}`, { ...places.get(`n${child.id}`), item });
  }
  for (const edge of drawn) {
    // Between neighbouring ranks only a label needs a point on the way.
    const between = edge.at.points.length <= 3 && !edge.labels.length ? [] : edge.at.points.slice(1, -1);
    const middle = between.flatMap((point) => {
      const half = halves.get(Math.round(point.y * 10)) || 0;
      const x = point.x + dx;
      return half ? [{ x, y: point.y + dy - half }, { x, y: point.y + dy + half }] : [{ x, y: point.y + dy }];
    });
    const start = end(places.get(edge.from), edge, "outs", middle[0], edge.from.startsWith("in") ? { x: plan.ins.get(String(edge.net)), y: 0 } : null);
    const finalPoint = end(places.get(edge.to), edge, "ins", middle[middle.length - 1], edge.to.startsWith("out") ? { x: plan.outs.get(String(edge.net)), y: height } : null);
    // Sideways between ranks only: beside a tall box, straight down.
    const upright = (place, sign, point) => (place.item && halves.get(Math.round(place.y * 10)) > place.height / 2 + 1
      ? [{ x: point.x, y: place.y + dy + sign * halves.get(Math.round(place.y * 10)) }] : []);
    const leaving = upright(places.get(edge.from), 1, start);
    const arriving = upright(places.get(edge.to), -1, finalPoint);
    const below = edge.from.startsWith("in") ? [{ x: start.x, y: HEADER + 2 }] : []; // it parts below the title
    plan.edges.push({
      links: edge.links, skip: edge.skip, labels: edge.labels,
      points: inOrder([start, ...below, ...leaving, ...middle, ...arriving, finalPoint]),
      label: edge.labels.length ? { x: edge.at.x + dx, y: edge.at.y + dy } : null, arrow: !edge.to.startsWith("out") && !(places.get(edge.to).item || {}).plan,
    });
  }
  plan.edges.sort((one, other) => Number(other.skip) - Number(one.skip)); // where they run together, the way itself is seen
  return plan;
}

/** Move each port along the rim to where its arrow comes straight through, and apart from the other ports. */
function straighten(ports, edges, places, inner, portOf, nextOf) {
  const wanted = [...ports].map((port) => {
    const own = edges.filter((edge) => portOf(edge) === port);
    const edge = own.find((each) => !each.skip) || own[0];
    const next = nextOf(edge);
    const other = portOf(edge) === edge.from ? edge.to : edge.from;
    const isNear = edge.at.points.length <= 3 && other.startsWith("n"); // in the next rank
    return { port, x: isNear && !inner.has(Number(other.slice(1))) ? places.get(other).x : next.x };
  });
  wanted.sort((one, other) => one.x - other.x);
  wanted.forEach((each, index) => {
    if (index) each.x = Math.max(each.x, wanted[index - 1].x + 12);
    places.get(each.port).x = each.x;
  });
}

/** The points of a line without those that would lead it up again. */
function inOrder(points) {
  const last = points[points.length - 1];
  const found = [points[0]];
  for (const point of points.slice(1, -1)) if (point.y > found[found.length - 1].y && point.y < last.y) found.push(point);
  return [...found, last];
}

/** Where an edge touches a node, a port or the frame of an open box. */
function end(place, edge, side, next, port) {
  if (port !== null) return port;
  const { item } = place;
  const y = side === "outs" ? item.y + item.height : item.y;
  if (item.plan !== null) return { x: item.x + item.plan[side].get(String(edge.net)), y };
  const middle = item.x + item.width / 2;
  const reach = item.width * 0.32;
  const wanted = next === undefined ? middle : next.x;
  const x = Math.min(middle + reach, Math.max(middle - reach, wanted));
  if (item.width !== item.height) return { x, y };
  const radius = item.width / 2; // a circle
  const drop = radius - Math.sqrt(radius ** 2 - (x - middle) ** 2);
  return { x, y: side === "outs" ? y - drop : y + drop };
}
