"use strict";
// What a mark is, beside the pointer.
const tip = document.getElementById("tip");
const texts = new Map();
for (const svg of document.querySelectorAll("svg[data-marks]")) {
  for (const [group, words] of Object.entries(JSON.parse(svg.dataset.marks))) {
    svg.querySelectorAll(`#${group} :is(path, use):not(defs *)`).forEach((mark, number) => {
      texts.set(mark, words[number]);
      mark.classList.add("mark");
      mark.setAttribute("aria-label", words[number]);
    });
  }
}
function show(event) {
  const text = texts.get(event.target);
  tip.hidden = text === undefined;
  if (tip.hidden) return;
  tip.textContent = text;
  const width = document.documentElement.clientWidth, height = document.documentElement.clientHeight;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, width - box.width - 4))}px`;
  const below = event.clientY + 16;
  tip.style.top = `${below + box.height > height ? event.clientY - box.height - 10 : below}px`;
}
document.addEventListener("pointerover", show);
document.addEventListener("pointermove", show);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// Marks whose texts hold what is sought; the others fade.
for (const finder of document.querySelectorAll(".finder")) {
  const figure = finder.closest("figure"), drawing = figure.querySelector(".drawing");
  const marks = [...figure.querySelectorAll(".mark")];
  const names = new Set(marks.map(mark => texts.get(mark).split(": ")[0]));
  finder.hidden = false;
  finder.querySelector("datalist").append(...[...names].sort().slice(0, 500).map(name => new Option(name)));
  finder.addEventListener("submit", event => event.preventDefault());
  finder.querySelector("input").addEventListener("input", event => {
    const sought = event.target.value.trim().toLowerCase();
    let hits = 0;
    for (const mark of marks) {
      const hit = sought !== "" && texts.get(mark).toLowerCase().includes(sought);
      mark.classList.toggle("hit", hit);
      hits += hit;
    }
    drawing.classList.toggle("found", sought !== "");
    finder.querySelector("output").textContent = sought === "" ? "" : `${hits} of ${marks.length} marks`;
  });
}

// Makes an element: make("td", { class: "file" }, "a.jpg").
function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

// A click on a heading sorts its table by that column, the next one the other way round.
function sortBy(heading, sort) {
  const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    sort(down);
  });
}
function valueOf(cell) {
  const text = cell.textContent.trim(), number = parseFloat(text.replace(/,/g, "").replace("−", "-"));
  return Number.isNaN(number) ? text : number;
}
function inOrder(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === typeof b) return a.localeCompare(b);
  return typeof a === "number" ? -1 : 1;  // a dash comes last
}
for (const table of document.querySelectorAll(".table table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (heading.textContent.trim() !== "") sortBy(heading, down => {
      const keys = new Map([...body.rows].map(row => [row, valueOf(row.cells[column])]));
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * inOrder(keys.get(a), keys.get(b))));
    });
  });
}

// Pictures enlarge. Back and On, or the arrow keys, go through those that were shown together.
const viewer = document.getElementById("viewer");
let steps = [], place = 0;
function view(all, start) {
  [steps, place] = [all, start];
  const { title, content } = steps[place]();
  viewer.querySelector("h2").textContent = title;
  viewer.querySelector(".shown").replaceChildren(...content);
  viewer.querySelector(".back").disabled = place === 0;
  viewer.querySelector(".on").disabled = place === steps.length - 1;
  if (!viewer.open) viewer.showModal();
}
const step = by => { if (steps[place + by]) view(steps, place + by); };
viewer.querySelector(".back").addEventListener("click", () => step(-1));
viewer.querySelector(".on").addEventListener("click", () => step(1));
viewer.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
viewer.addEventListener("click", event => { if (event.target === viewer) viewer.close(); });
for (const strip of document.querySelectorAll(".gallery ul")) {
  const pictures = [...strip.querySelectorAll("img")];
  const shown = pictures.map(picture => () => (
    { title: picture.alt, content: [make("img", { src: picture.src, alt: picture.alt, class: "large" })] }));
  pictures.forEach((picture, number) => {
    const button = make("button", { type: "button", class: "open", "aria-label": `Enlarge: ${picture.alt}` });
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => view(shown, number));
  });
}
