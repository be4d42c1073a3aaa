// The tree as nested blocks and the test images below it: what sections/breaks.py wrote, of nodes coarse to fine and
// of images `file`, `truth` and `answer` (nodes), `sure` (of each node of the answer, in ‰) and `sureOfTruth`.
for (const root of document.querySelectorAll(".explorer")) {
  explore(root, JSON.parse(root.querySelector("script").textContent));
}

function explore(root, data) {
  const TOP = -1, PAGE = 20, ROW = 20, LEAST = 3;  // rows on a page; pixels of a leaf with its name; of a block
  const { levels, names, parent } = data;
  const at = selector => root.querySelector(selector);
  const count = names.length, children = new Map([[TOP, []]]), leaves = new Array(count).fill(0);
  for (let node = 0; node < count; node++) {
    children.set(node, []);
    children.get(parent[node]).push(node);
  }
  for (let node = count - 1; node >= 0; node--) {
    leaves[node] ||= 1;
    if (parent[node] >= 0) leaves[parent[node]] += leaves[node];
  }
  const roots = children.get(TOP);
  const leavesOf = node => node === TOP ? roots.reduce((sum, each) => sum + leaves[each], 0) : leaves[node];
  const sumOf = (values, nodes) => nodes.reduce((sum, node) => sum + values[node], 0);
  const pathOf = node => node < 0 ? [] : [...pathOf(parent[node]), node];
  const depthOf = node => pathOf(node).length - 1;
  const nameOf = node => node === TOP ? "all" : names[node];
  const fullName = node => pathOf(node).map(each => names[each]).join(" › ");
  const reach = node => 1 + Math.max(0, ...children.get(node).map(reach));
  const percent = (part, all, digits = 1) => all ? `${(100 * part / all).toFixed(digits)}\u00a0%` : "–";
  const signed = value => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;

  // ---- The tree -----------------------------------------------------------------------------------------------
  // A measure says of nodes what is written on their block, in words, and which shade it has.
  const FLOORS = [0.98, 0.95, 0.9, 0.8, 0.6, 0.4];
  const STEPS = [0.01, 0.03, 0.06, 0.12];
  const share = values => ({
    of: nodes => sumOf(values, nodes) / sumOf(data.images, nodes),
    text: value => Number.isNaN(value) ? "–" : `${(100 * value).toFixed(0)} %`,
    shade: value => `s${FLOORS.filter(floor => !(value >= floor)).length}`,
    legend: [...FLOORS.map((floor, i) => [`s${i}`, `≥ ${100 * floor} %`]), ["s6", "less"]],
  });
  const measures = { "right so far": share(data.right), "whole path right": share(data.whole) };
  if (data.control) measures[`right so far, against ${data.control}`] = {
    of: nodes => (sumOf(data.right, nodes) - sumOf(data.control_right, nodes)) / sumOf(data.images, nodes),
    text: value => Number.isNaN(value) ? "–" : signed(value),
    shade: value => `d${Math.sign(value) * STEPS.filter(step => Math.abs(value) >= step).length}`.replace("d-0", "d0"),
    legend: [-4, -3, -2, -1, 0, 1, 2, 3, 4].map(i =>
      [`d${i}`, i === 0 ? "same" : `${i < 0 ? "≤ −" : "≥ +"}${100 * STEPS[Math.abs(i) - 1]}`]),
  };
  const measure = at(".measure"), icicle = at(".icicle");
  measure.append(...Object.keys(measures).map(name => new Option(name)));
  let focus = TOP, chosen = TOP, blocks = new Map();

  function describe(nodes) {
    const all = sumOf(data.images, nodes), right = sumOf(data.right, nodes), whole = sumOf(data.whole, nodes);
    if (nodes === roots) return `${all} images, whole path right ${percent(whole, all)}`;
    const control = data.control ? `; ${data.control}: ${sumOf(data.control_right, nodes)}` : "";
    const share = `${percent(right, all)}${control}`;
    return `${right} of ${all} right so far (${share}), whole path right ${percent(whole, all)}`;
  }
  function block(node, nodes, label, top, height, column, columns, total) {
    const shown = measures[measure.value], value = shown.of(nodes), isAll = nodes === roots;
    const text = isAll ? "" : shown.text(value), words = `${label}: ${describe(nodes)}`;
    const element = make("div", { role: "treeitem", tabindex: "-1", "aria-label": words, "aria-level": column + 1,
      class: `node ${isAll ? "all" : shown.shade(value)}` });
    if (height >= 13.5) element.append(make("span", { class: "name" }, label), make("span", { class: "share" }, text));
    const unit = 100 / (columns - 0.5);  // the first column is half as wide
    const left = column ? unit * (column - 0.5) : 0, width = column ? unit : unit / 2;
    element.style.cssText = `top:${top}px;height:${height}px;left:${left}%;width:${width}%`;
    texts.set(element, words);
    element.addEventListener("click", () => choose(node));
    if (total) blocks.set(node, element);
    icicle.append(element);
  }
  // Children too small to be seen stand together in one block, which leads to their parent.
  function place(node, top, height, column, columns) {
    if (column > 0 || node !== TOP) block(node, [node], names[node], top, height, column, columns, true);
    else block(TOP, roots, "all", top, height, column, columns, true);
    if (column + 1 === columns) return;
    let bundle = [], from = top;
    const flush = () => {
      const label = `${bundle.length} of ${nameOf(node)}`;
      if (bundle.length) block(node, bundle, label, from, top - from, column + 1, columns, false);
      bundle = [];
    };
    for (const child of children.get(node)) {
      const size = height * leaves[child] / leavesOf(node);
      if (size >= LEAST - 1) {
        flush();
        place(child, top, size, column + 1, columns);
      } else {
        if (!bundle.length) from = top;
        bundle.push(child);
        if (top + size - from >= LEAST) { top += size; flush(); from = top; continue; }
      }
      top += size;
      if (!bundle.length) from = top;
    }
    flush();
  }
  function draw() {
    const columns = Math.max(2, Math.min(reach(focus), Math.floor(icicle.clientWidth / 96)));
    const height = Math.max(120, Math.min(leavesOf(focus) * ROW, 640));
    blocks = new Map();
    icicle.replaceChildren();
    icicle.style.height = `${height}px`;
    place(focus, 0, height, 0, columns);
    const first = depthOf(focus);
    const heads = Array.from({ length: columns }, (_, i) => make("span", {}, levels[first + i] ?? "all"));
    const { legend } = measures[measure.value];
    at(".columns").replaceChildren(...heads);
    at(".legend").replaceChildren(...legend.map(([kind, text]) => make("span", { class: `key ${kind}` }, text)));
    const trail = [TOP, ...pathOf(focus)].map(node => {
      const button = make("button", { type: "button" }, nameOf(node));
      if (node === focus) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => choose(node));
      return button;
    });
    at(".trail").replaceChildren(...trail.flatMap((button, i) => i ? [" › ", button] : [button]));
    mark();
  }
  function mark() {
    for (const [node, element] of blocks) element.setAttribute("aria-selected", String(node === chosen));
    (blocks.get(chosen) ?? blocks.get(focus)).tabIndex = 0;
    const nodes = chosen === TOP ? roots : [chosen];
    const level = chosen === TOP ? "" : `(${levels[depthOf(chosen)]}) `;
    const line = [make("strong", {}, nameOf(chosen)), ` ${level}– ${describe(nodes)}.`];
    const lost = lostTo(chosen);
    if (lost.length) line.push(` Taken for ${lost.map(([node, n]) => `${names[node]} (${n})`).join(", ")}.`);
    at(".chosen").replaceChildren(...line);
  }
  function choose(node) {
    const held = icicle.contains(document.activeElement);
    chosen = node;
    at(".which").value = node === TOP ? "" : fullName(node);
    const next = children.has(node) && children.get(node).length ? node : parent[node] ?? TOP;
    if (next !== focus) {
      focus = next;
      draw();
    } else {
      for (const each of blocks.values()) each.tabIndex = -1;
      mark();
    }
    if (held) (blocks.get(chosen) ?? blocks.get(focus)).focus();
    list();
  }
  icicle.addEventListener("keydown", event => {
    const node = [...blocks].find(([, element]) => element === document.activeElement)?.[0];
    if (node === undefined) return;
    const beside = node === TOP ? roots : children.get(node === focus ? TOP : parent[node]), i = beside.indexOf(node);
    const next = {
      ArrowDown: node === focus ? undefined : beside[i + 1], ArrowUp: node === focus ? undefined : beside[i - 1],
      ArrowRight: children.get(node)[0], ArrowLeft: node === TOP ? undefined : parent[node], Home: TOP,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(node);
    else if (next === undefined) return;
    else if (blocks.has(next)) {
      for (const each of blocks.values()) each.tabIndex = -1;
      blocks.get(next).tabIndex = 0;
      blocks.get(next).focus();
    } else choose(next);
    event.preventDefault();
  });

  // ---- The images ---------------------------------------------------------------------------------------------
  const images = data.file.map((file, i) => {
    const truth = pathOf(data.truth[i]), answer = pathOf(data.answer[i]);
    let parts = 0;
    while (parts < truth.length && truth[parts] === answer[parts]) parts++;
    return { i, file, truth, answer, parts, wrong: parts < truth.length, sure: (data.sure[i].at(-1) ?? 0) / 10 };
  });
  const partName = parts => parts === 0 ? `wrong ${levels[0]}` : `right ${levels[parts - 1]}, wrong ${levels[parts]}`;
  const lostTo = node => {
    const depth = depthOf(node), lost = new Map();
    for (const { truth, answer, parts, wrong } of images) {
      if (node === TOP || !wrong || truth[depth] !== node || parts !== depth || answer[parts] === undefined) continue;
      lost.set(answer[parts], (lost.get(answer[parts]) ?? 0) + 1);
    }
    return [...lost].sort((a, b) => b[1] - a[1]).slice(0, 5);
  };
  const outcome = at(".outcome");
  const kinds = [...new Set(images.filter(image => image.wrong).map(image => image.parts))].sort((a, b) => a - b);
  const outcomes = { mistakes: image => image.wrong, everything: () => true, "right ones": image => !image.wrong };
  if (kinds.length > 1) {
    for (const parts of kinds) outcomes[partName(parts)] = image => image.wrong && image.parts === parts;
  }
  outcome.append(...Object.keys(outcomes).map(name => new Option(name)));
  const byName = new Map(names.map((_, node) => [fullName(node), node]));
  at("datalist").append(...[...byName.keys()].slice(0, 2000).map(name => new Option(name)));

  let found = [], first = 0, order = null;
  const keys = {
    truth: image => data.truth[image.i],
    parts: image => image.wrong ? image.parts : levels.length,
    sure: image => image.sure,
    file: image => image.file,
  };
  function list() {
    const holds = { truth: image => image.truth.includes(chosen), answer: image => image.answer.includes(chosen) };
    holds.either = image => holds.truth(image) || holds.answer(image);
    const least = Number(at(".least").value), most = Number(at(".most").value), shows = outcomes[outcome.value];
    const typed = at(".which").value.trim().toLowerCase(), exact = chosen !== TOP;
    const words = image => `${fullName(data.truth[image.i])}\n${image.file}`.toLowerCase();
    const named = image => !typed || exact || words(image).includes(typed);
    found = images.filter(image => shows(image) && image.sure >= least && image.sure <= most
      && (!exact || holds[at(".side").value](image)) && named(image));
    if (order) {
      const key = keys[order.key], sign = order.down ? -1 : 1;
      found.sort((a, b) => sign * inOrder(key(a), key(b)) || a.i - b.i);
    } else found.sort((a, b) => (b.i in data.pictures) - (a.i in data.pictures) || b.sure - a.sure);
    first = 0;
    page();
  }
  function page() {
    const rows = found.slice(first, first + PAGE), withPicture = found.filter(image => image.i in data.pictures).length;
    const of = data.total > images.length ? ` (${images.length} of ${data.total} listed)` : "";
    at(".found").textContent = `${found.length} of ${images.length} images${of}`
      + (Object.keys(data.pictures).length ? `, ${withPicture} of them with a picture. ` : ". ");
    if (!found.length && outcome.value !== "everything") {
      const all = make("button", { type: "button" }, "Show those that are right, too");
      all.addEventListener("click", () => { outcome.value = "everything"; list(); });
      at(".found").append(all);
    }
    const steps = found.map(image => () => details(image));
    at("tbody").replaceChildren(...rows.map((image, number) => {
      const label = `Details of ${image.file}`, shown = picture(image.i) ?? "details";
      const open = make("button", { type: "button", class: "open", "aria-label": label }, shown);
      open.addEventListener("click", () => view(steps, first + number));
      return make("tr", {}, make("td", { class: "picture" }, open),
        make("td", { class: "paths" }, ...paths(image)),
        make("td", { class: "parts" }, image.wrong ? levels[image.parts] : "right"),
        make("td", { class: "figure" }, `${image.sure.toFixed(1)} %`), make("td", { class: "file" }, image.file));
    }));
    const last = Math.min(first + PAGE, found.length);
    at(".pager output").textContent = `${found.length ? first + 1 : 0}–${last} of ${found.length}`;
    at(".pager .back").disabled = first === 0;
    at(".pager .on").disabled = first + PAGE >= found.length;
  }
  const picture = (i, kind = "small") => i in data.pictures
    ? make("img", { src: `data:image/jpeg;base64,${data.pictures[i]}`, alt: data.file[i], class: kind }) : null;
  // What both paths share is quiet; from where they part, the true one and the answer stand out.
  function paths({ truth, answer, parts, wrong, i }) {
    const line = (kind, path, sure) => make("div", { class: kind }, ...path.flatMap((node, depth) => [
      depth ? " › " : "", make(wrong && depth >= parts ? "strong" : "span", {}, names[node]),
      sure[depth] === undefined ? "" : make("small", {}, `\u00a0${(sure[depth] / 10).toFixed(0)}\u00a0%`)]));
    if (!wrong) return [line("right", answer, data.sure[i])];
    return [line("truth", truth, []), line("answer", answer, data.sure[i])];
  }
  function details(image) {
    const { truth, answer, i, wrong, parts } = image;
    const rows = levels.slice(0, Math.max(truth.length, answer.length)).map((level, depth) => {
      const sure = path => {
        if (path[depth] === undefined) return "–";
        const found = path === truth && wrong ? data.sureOfTruth[i] : data.sure[i];
        return `${(found[depth] / 10).toFixed(1)} %`;
      };
      const name = path => path[depth] === undefined ? "–" : names[path[depth]];
      const mark = depth >= truth.length ? "" : depth < parts ? "✓" : "✗";
      return make("tr", {}, make("th", { scope: "row" }, level),
        make("td", {}, name(truth)), make("td", { class: "figure" }, sure(truth)),
        make("td", {}, `${mark} ${name(answer)}`), make("td", { class: "figure" }, sure(answer)));
    });
    const head = ["level", "true", "belief", "answered", "belief"].map(text => make("th", { scope: "col" }, text));
    const isExample = each => !each.wrong && data.truth[each.i] === data.answer[i] && each.i in data.pictures;
    const example = wrong ? images.find(isExample) : undefined;
    const figures = [[picture(i, "large"), "this image"]];
    if (example) figures.push([picture(example.i, "large"), `${names[answer.at(-1)]}, recognised`]);
    const pair = figures.filter(([shown]) => shown);
    return { title: image.file, content: [
      make("div", { class: "pair" },
        ...pair.map(([shown, text]) => make("figure", {}, shown, make("figcaption", {}, text)))),
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))] };
  }
  for (const heading of root.querySelectorAll("[data-sort]")) sortBy(heading, down => {
    order = { key: heading.dataset.sort, down };
    list();
  });
  const filters = at(".filters");
  filters.addEventListener("submit", event => event.preventDefault());
  filters.addEventListener("input", event => {
    if (event.target.matches(".which")) {
      const node = byName.get(event.target.value) ?? names.indexOf(event.target.value), typed = event.target.value;
      choose(node < 0 ? TOP : node);
      if (node < 0) { event.target.value = typed; list(); }
    } else list();
  });
  at(".clear").addEventListener("click", () => { filters.reset(); choose(TOP); });
  at(".pager .back").addEventListener("click", () => { first -= PAGE; page(); });
  at(".pager .on").addEventListener("click", () => { first += PAGE; page(); });
  at(".csv").addEventListener("click", event => {
    const quoted = value => `"${String(value).replace(/"/g, '""')}"`;
    const cells = image => [image.file, fullName(data.truth[image.i]), fullName(data.answer[image.i]), image.sure];
    const lines = ["file,true,answered,sure_percent", ...found.map(image => cells(image).map(quoted).join(","))];
    event.target.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  });
  measure.addEventListener("change", draw);
  let drawn = icicle.clientWidth;
  new ResizeObserver(() => {
    if (icicle.clientWidth !== drawn) draw();
    drawn = icicle.clientWidth;
  }).observe(icicle);
  for (const part of root.querySelectorAll("[hidden]")) part.hidden = false;
  if (!Object.keys(data.pictures).length) root.classList.add("bare");
  draw();
  list();
}
