// The front: accuracy over multiply-adds, with intervals, controls, what is tied, and the budget.

const SPLITS = {
  test: ["test images", "test_top1", "test_interval"],
  val: ["validation images", "finetuned_val_top1", "val_interval"],
  search: ["validation, in the search", "val_top1", null],
};
const front = data.front.front.map((row) => row.id).filter((id) => data.nets[id]);
const controls = Object.keys(data.nets).filter((id) => data.nets[id].control);
const ties = (data.front.ties && data.front.ties.ids) || [], tied = new Set(ties.length > 1 ? ties : []); // the best alone is not tied
const shownNets = [...new Set([...front, ...controls])].sort((a, b) => data.nets[a].macs - data.nets[b].macs);

const accuracy = (id, split) => data.nets[id][SPLITS[split][1]];
const interval = (id, split) => (SPLITS[split][2] ? data.nets[id][SPLITS[split][2]] : null);
const extras = data.front.columns || [];

function markOf(id, x, y, size) {
  const control = data.nets[id].control && !front.includes(id);
  if (!control) return svg("circle", { class: "mark", cx: x, cy: y, r: size });
  const s = size * 1.25;
  return svg("path", { class: "mark", d: `M${x} ${y - s}L${x + s} ${y}L${x} ${y + s}L${x - s} ${y}Z` });
}

function describe(id, split) {
  const net = data.nets[id], between = interval(id, split);
  const parts = [titleOf(id), `${amount(net.macs)} multiply-adds`, `${percent(accuracy(id, split))} on ${SPLITS[split][0]}`];
  if (between) parts.push(`95 % interval ${range(between)}`);
  if (net.over) parts.push("over the budget");
  if (tied.has(id)) parts.push("statistically tied with the most accurate");
  return parts.join(", ");
}

function point(id, x, y, split, tip) {
  const net = data.nets[id], px = x(net.macs), py = y(accuracy(id, split)), between = interval(id, split);
  const whisker = between && [
    svg("line", { class: "range", x1: px, x2: px, y1: y(between[0]), y2: y(between[1]) }),
    between.map((end) => svg("line", { class: "range", x1: px - 4, x2: px + 4, y1: y(end), y2: y(end) })),
  ];
  const press = (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      select(id);
    }
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const all = [...event.currentTarget.parentNode.querySelectorAll(".point")];
      all[(all.indexOf(event.currentTarget) + step + all.length) % all.length].focus();
    }
  };
  return svg(
    "g",
    {
      class: `point ${front.includes(id) ? "front" : "control"}${state.budget && net.macs > state.budget ? " over" : ""}`,
      "data-id": id, tabindex: "0", role: "button", "aria-label": describe(id, split),
      "aria-pressed": String(state.selected === id), onclick: () => select(id), onkeydown: press,
      onmouseenter: () => tip(id, px, py), onmouseleave: () => tip(null), onfocus: () => tip(id, px, py), onblur: () => tip(null),
    },
    svg("circle", { cx: px, cy: py, r: 17, fill: "transparent" }),
    whisker,
    svg("circle", { class: "ring", cx: px, cy: py, r: 11 }),
    tied.has(id) && split !== "search" && svg("circle", { class: "halo", cx: px, cy: py, r: 14.5 }),
    markOf(id, px, py, 6.5),
  );
}

const shortName = (id) => data.nets[id].control.replace(/^pretrained | subnet| within the budget| network alone| of timm.*/g, "");

function namesOfControls(nets, x, y, split, box) {
  // Below or above their points, where no other name or point is, and inside the chart.
  const placed = nets.map((id) => [x(data.nets[id].macs), y(accuracy(id, split)) + 4, 8]);
  return nets.filter((id) => data.nets[id].control).map((id) => {
    const whole = shortName(id), long = 7 * whole.length > (box.right - box.left) / 2.2;
    const text = long && data.nets[id].control.includes("of timm") ? "timm" : whole, half = 3.5 * text.length;
    const px = Math.max(box.left + half, Math.min(box.right - half, x(data.nets[id].macs)));
    const [low, high] = interval(id, split) || [accuracy(id, split), accuracy(id, split)];
    const free = (py) => py > box.top - 2 && py < box.bottom - 4 &&
      placed.every(([qx, qy, other]) => Math.abs(qy - py) > 13 || Math.abs(qx - px) > half + other);
    const py = [y(low) + 18, y(high) - 10, y(low) + 33, y(high) - 25, y(low) + 48, y(low) + 63].find(free) ?? y(high) - 10;
    placed.push([px, py, half]);
    return svg("text", { class: "name", x: px, y: py, "text-anchor": "middle" }, text);
  });
}

function drawFront(place, width) {
  const split = state.split, nets = shownNets.filter((id) => known(accuracy(id, split)));
  const cloud = split === "search" ? data.searched : [];
  const macs = [...nets.map((id) => data.nets[id].macs), ...cloud.map((dot) => dot[0])];
  const heights = nets.flatMap((id) => [accuracy(id, split), ...(interval(id, split) || [])]).concat(cloud.map((dot) => dot[1]));
  if (!macs.length) return place.replaceChildren(el("p", { class: "note" }, `No accuracy on ${SPLITS[split][0]} yet.`));
  const box = { left: 50, right: width - 14, top: 30, bottom: Math.round(Math.min(420, Math.max(300, width * 0.62))) - 48 };
  const ends = [Math.min(...macs) / 1.12, Math.max(...macs) * 1.12];
  const x = scale(ends, [box.left, box.right], true), yRange = padded(heights, 0.07, 0.004);
  const y = scale([Math.max(0, yRange[0]), Math.min(1.004, yRange[1])], [box.bottom, box.top]);
  const yTicks = ticks(Math.max(0, yRange[0]), Math.min(1, yRange[1]), 6);
  const digits = yTicks.length > 1 && yTicks[1] - yTicks[0] < 0.0099 ? 1 : 0;
  const old = place.querySelector(".tip"), bubble = old || el("div", { class: "tip", role: "status", hidden: true });
  const tip = (id, px, py) => {
    bubble.hidden = !id;
    if (!id) return;
    const net = data.nets[id];
    bubble.replaceChildren(
      el("div", {}, el("b", {}, id), net.control && net.control !== id ? ` ${net.control}` : "", net.over ? ", over the budget" : ""),
      el("div", {}, `${amount(net.macs)} multiply-adds, ${net.resolution} px`),
      el("div", {}, `${percent(accuracy(id, state.split))} ${interval(id, state.split) ? `(${range(interval(id, state.split))})` : ""}`),
      tied.has(id) && state.split !== "search" ? el("div", {}, "tied with the most accurate") : "",
    );
    bubble.style.left = `${Math.max(0, Math.min(width - 238, px - 118))}px`;
    bubble.style.top = py > 150 ? "" : `${py + 24}px`;
    bubble.style.bottom = py > 150 ? `${box.bottom + 48 - py + 22}px` : "";
  };
  const path = front.filter((id) => known(accuracy(id, split)))
    .map((id, i) => `${i ? "L" : "M"}${x(data.nets[id].macs).toFixed(1)} ${y(accuracy(id, split)).toFixed(1)}`).join("");
  const marks = nets.map((id) => point(id, x, y, split, tip));
  const names = namesOfControls(nets, x, y, split, box);
  const line = state.budget && x(Math.min(state.budget, ends[1]));
  const focused = place.contains(document.activeElement) && document.activeElement.dataset.id;
  place.replaceChildren(
    svg(
      "svg",
      { width, height: box.bottom + 48, role: "group", "aria-label": `Accuracy on ${SPLITS[split][0]} over multiply-adds` },
      axes(box, x, y, logTicks(ends[0], ends[1], width / 52), yTicks, short, (v) => (100 * v).toFixed(digits),
        "multiply-adds (millions, log scale)", `top-1 accuracy (%), ${SPLITS[split][0]}`),
      cloud.map((dot) => svg("circle", { class: "dot", cx: x(dot[0]), cy: y(dot[1]), r: 3 })),
      line && svg("line", { class: "budget-line", x1: line, x2: line, y1: box.top, y2: box.bottom }),
      svg("path", { class: "net", d: path, "stroke-width": 1.5, opacity: 0.55 }),
      names,
      marks,
      line && state.pick && known(accuracy(state.pick, split)) &&
        svg("circle", { class: "pick-ring", cx: x(data.nets[state.pick].macs), cy: y(accuracy(state.pick, split)), r: 8 }),
    ),
    bubble,
  );
  if (focused) place.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function legend() {
  const item = (shape, text) => el("li", {}, svg("svg", { width: 18, height: 18, "aria-hidden": "true" }, shape), text);
  const symbol = (kind, ...shapes) => svg("g", { class: `point ${kind}` }, ...shapes);
  return el("ul", { class: "legend" },
    item(symbol("front", svg("circle", { class: "mark", cx: 9, cy: 9, r: 6 })), "Pareto-optimal subnet"),
    controls.length > 0 && item(symbol("control", svg("path", { class: "mark", d: "M9 1L17 9L9 17L1 9Z" })), "control, same recipe"),
    tied.size > 0 && item(symbol("front", svg("circle", { class: "halo", cx: 9, cy: 9, r: 7.5 })), "tied with the most accurate"),
    shownNets.some((id) => interval(id, "test")) && item(symbol("front", svg("path", { class: "range", d: "M9 1V17M5 1H13M5 17H13" })), "95 % bootstrap interval over images"),
    data.searched.length > 0 && item(svg("circle", { class: "dot", cx: 9, cy: 9, r: 3 }), "evaluated (in the search)"));
}

function netTable() {
  const columns = ["subnet", "MACs", "parameters", "input", ...extras.map((c) => c.title), "in search", "validation", "test", "95 % interval"];
  const place = el("div", {});
  follow((what) => {
    if (!("selected" in what)) return;
    const rows = shownNets.map((id) => {
      const net = data.nets[id];
      const said = [idButton(id), net.control && net.control !== id ? ` ${net.control}` : "", net.over ? " · over the budget" : "", tied.has(id) ? " · tied" : ""];
      return { current: state.selected === id, cells: [said, amount(net.macs), amount(net.params), `${net.resolution} px`,
        ...extras.map((c) => withUnit(net[c.name], c)), percent(net.val_top1), percent(net.finetuned_val_top1),
        percent(net.test_top1), range(net.test_interval) || "–"] };
    });
    place.replaceChildren(table("Subnets of the front and controls", columns, rows));
  });
  return place;
}

function showFront() {
  if (!shownNets.length) {
    section("front", "The front", el("p", { class: "warn" }, "There is no front yet: nothing has been evaluated with the run's weights."));
    return;
  }
  const there = Object.keys(SPLITS).filter((split) => shownNets.some((id) => known(accuracy(id, split))));
  if (!there.includes(state.split)) state.split = there.at(-1);
  const radios = there.map((split) => el("label", {}, el("input", { type: "radio", name: "split", value: split,
    checked: split === state.split, onchange: () => change({ split }) }), SPLITS[split][0]));
  const place = el("div", { class: "chart", id: "scatter" });
  section("front", data.finished ? "The front" : "The best so far",
    el("p", { class: "note" }, "Each point is a subnet: the higher the more accurate, the further left the cheaper. ",
      "Choose one to see it below; arrow keys go from point to point."),
    el("div", { class: "columns wide" },
      el("div", {}, el("fieldset", { class: "toggle" }, el("legend", {}, "Accuracy on"), radios), place, legend()),
      budgetPanel()),
    el("h3", { id: "numbers" }, "All numbers"), netTable());
  const again = responsive(place, (width) => drawFront(place, width));
  follow(again);
}
