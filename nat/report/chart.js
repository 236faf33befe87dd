// Axes, and small line charts; drawn in CSS pixels so that text stays legible, and again when the place changes.

function ticks(low, high, count) {
  // Round numbers from low to high, about `count` of them.
  const rough = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found.map((value) => Number(value.toPrecision(12)));
}

function logTicks(low, high, room) {
  // Round numbers on a logarithmic axis: as many as there is room for, at least two.
  for (const factors of [[1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      found.push(...factors.map((factor) => factor * 10 ** power).filter((v) => v >= low && v <= high));
    }
    if (found.length >= 2 && found.length <= room) return found;
  }
  return [low, high];
}

const short = (macs) => `${Number((macs / 1e6).toPrecision(3))}`;

function scale(from, to, logarithmic = false) {
  const of = logarithmic ? Math.log : (value) => value;
  const [low, high] = from.map(of);
  return (value) => to[0] + ((of(value) - low) / (high - low || 1)) * (to[1] - to[0]);
}

function padded(values, share, least = 0) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = Math.max((high - low) * share, least) || 0.5;
  return [low - margin, high + margin];
}

function axes(box, x, y, xTicks, yTicks, xText, yText, xTitle, yTitle) {
  // Lines and texts of a chart; box: {left, right, top, bottom} in pixels.
  const parts = yTicks.map((value) => [
    svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
    svg("text", { class: "axis", x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, yText(value)),
  ]);
  parts.push(
    xTicks.map((value) => [
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: box.bottom, y2: box.bottom + 5 }),
      svg("text", { class: "axis", x: x(value), y: box.bottom + 19, "text-anchor": "middle" }, xText(value)),
    ]),
    svg("line", { class: "grid", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    svg("text", { class: "axis", x: box.right, y: box.bottom + 38, "text-anchor": "end" }, xTitle),
    svg("text", { class: "axis", x: box.left - 34, y: box.top - 12 }, yTitle),
  );
  return parts.flat(3);
}

function responsive(place, draw) {
  // Draws for the width that the place has, again whenever that changes.
  let width = 0;
  const again = () => {
    const now = Math.round(place.clientWidth);
    if (now > 0 && now !== width) draw((width = now));
  };
  new ResizeObserver(again).observe(place);
  again();
  return () => width && draw(width);
}

function lineChart(title, hint, points, yText, bounds) {
  // One line over the rounds: points as [round, value]; values that are null are gaps.
  const place = el("div", { class: "chart" });
  const there = points.filter((point) => known(point[1]));
  const card = el("div", {}, el("h3", {}, title), el("p", { class: "hint" }, hint));
  if (!there.length) {
    card.append(el("p", { class: "note" }, "Nothing to show: no round has it."));
    return card;
  }
  responsive(place, (width) => {
    const box = { left: 48, right: width - 8, top: 12, bottom: 138 };
    const ends = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
    const x = scale(ends[0] === ends[1] ? [ends[0] - 0.5, ends[1] + 0.5] : ends, [box.left + 10, box.right - 10]);
    const range = padded([...there.map((point) => point[1]), ...(bounds || [])], 0.1, 0.01);
    const y = scale(range, [box.bottom, box.top]);
    const xTicks = ticks(ends[0], ends[1], Math.min(6, width / 60)).filter(Number.isInteger);
    const yTicks = ticks(range[0], range[1], 4);
    const line = there.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("");
    const label = `${title}: ${there.map((point) => `round ${point[0]} ${yText(point[1])}`).join(", ")}`;
    place.replaceChildren(
      svg(
        "svg",
        { width, height: 182, role: "img", "aria-label": label },
        axes(box, x, y, xTicks, yTicks, String, yText, "round", ""),
        svg("path", { class: "net", d: line, "stroke-width": 2.5, "stroke-linejoin": "round" }),
        there.map((point) =>
          svg("circle", { cx: x(point[0]), cy: y(point[1]), r: 4, fill: "var(--net)" },
            svg("title", {}, `round ${point[0]}: ${yText(point[1])}`)),
        ),
      ),
    );
  });
  card.append(place);
  return card;
}
