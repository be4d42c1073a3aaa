"use strict";
// What a mark is, beside the pointer.
const tip = document.getElementById("tip");
const texts = new Map();
for (const svg of document.querySelectorAll("svg[data-marks]")) {
  for (const [group, said] of Object.entries(JSON.parse(svg.dataset.marks))) {
    svg.querySelectorAll(`#${group} :is(path, use):not(defs *)`).forEach((mark, number) => {
      texts.set(mark, said[number]);
      mark.classList.add("mark");
      mark.setAttribute("aria-label", said[number]);
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
