// What a net answers to test images: classes, confusions, pictures.

const MATRIX = 160; // most classes that a matrix is drawn of
const control = controls.find((id) => data.nets[id].control.startsWith("largest subnet") && data.nets[id].answers);

const className = (index) => name(data.classes[index] ?? `class ${index}`);
const ratio = (a, b) => (b ? a / b : null);

function classRows(answers, against) {
  return answers.classes.map(([images, named, right], index) => {
    const recall = ratio(right, images), other = against && ratio(against.classes[index][2], images);
    return { index, images, recall, precision: ratio(right, named),
      behind: known(other) && known(recall) ? recall - other : null };
  }).filter((row) => row.images || row.precision !== null);
}

function classTable(net) {
  const against = control && data.nets[control] !== net ? data.nets[control].answers : null;
  const rows = classRows(net.answers, against), key = state.sort;
  const value = (row) => (key === "name" ? row.index : row[key] ?? 2);
  rows.sort((a, b) => (key === "images" ? value(b) - value(a) : value(a) - value(b)) || a.index - b.index);
  const heading = (which, text) => el("button", { class: "sort", type: "button", "data-on": String(key === which),
    "aria-pressed": String(key === which), onclick: () => change({ sort: which }) }, text);
  const columns = [heading("name", "class"), heading("recall", "right"), heading("precision", "precision"), heading("images", "images")];
  if (against) columns.push(heading("behind", "vs largest"));
  const meter = (share) => [el("span", { class: "meter", "aria-hidden": "true" }, el("i", { style: { width: `${100 * (share ?? 0)}%` } })), percent(share, 1)];
  const cells = rows.map((row) => [className(row.index), meter(row.recall), percent(row.precision, 1), whole(row.images),
    ...(against ? [known(row.behind) ? points(row.behind).replace(/0 pp$/, " pp").replace("+0.0 pp", "0.0 pp") : "–"] : [])]);
  return [
    el("h3", {}, "Classes"),
    el("p", { class: "hint" }, "Of each class, the share of its test images that the net names right (recall), and of the answers that name it, the share that is right (precision).",
      against ? ` The last column compares with the ${data.nets[control].control}.` : ""),
    table("Per-class results", columns, cells, { id: "classes" }),
  ];
}

function matrix(answers) {
  const n = answers.classes.length, place = el("div", { class: "chart" });
  const label = `Confusion matrix of ${n} classes; the most frequent mistakes are in the table beside it.`;
  responsive(place, (width) => {
    const longest = Math.min(12, Math.max(...answers.classes.map((_, row) => String(data.classes[row] ?? row).length)));
    const named = (width - 100) / n >= 14, left = named ? 14 + 7 * longest : 24, size = Math.min(width - left - 4, 540), cell = size / n;
    const square = (row, column, count) => {
      const images = answers.classes[row][0] || 1, share = count / images, hit = row === column;
      return svg("rect", { x: left + column * cell, y: row * cell, width: Math.max(cell - (cell > 6 ? 1 : 0), 0.8), height: Math.max(cell - (cell > 6 ? 1 : 0), 0.8),
        fill: hit ? "var(--net)" : "var(--control)", opacity: hit ? 0.12 + 0.78 * share : Math.min(1, 0.3 + 1.4 * share), rx: cell > 12 ? 2 : 0 },
        svg("title", {}, `${data.classes[row] ?? row} answered as ${data.classes[column] ?? column}: ${count} of ${images}`));
    };
    const squares = answers.classes.flatMap(([, , right], row) => (right ? [square(row, row, right)] : []));
    squares.push(...answers.pairs.map(([row, column, count]) => square(row, column, count)));
    const numbers = cell < 21 ? [] : [...answers.classes.map(([, , right], row) => [row, row, right]), ...answers.pairs].filter((entry) => entry[2])
      .map(([row, column, count]) => svg("text", { x: left + (column + 0.5) * cell, y: (row + 0.5) * cell + 4, "text-anchor": "middle",
        fill: row === column && count > 0.5 * answers.classes[row][0] ? "var(--card)" : null }, count));
    const cut = (text) => (text.length > 12 ? `${text.slice(0, 11)}…` : text);
    const texts = named ? answers.classes.map((_, row) => svg("text", { class: "axis", x: left - 7, y: (row + 0.5) * cell + 4, "text-anchor": "end" },
      cut(String(data.classes[row] ?? row)), svg("title", {}, String(data.classes[row] ?? row)))) :
      svg("text", { class: "axis", x: 0, y: 0, transform: "translate(14 0) rotate(-90)", "text-anchor": "end" }, "← true class");
    place.replaceChildren(svg("svg", { width, height: size + 26, role: "img", "aria-label": label },
      svg("rect", { x: left, y: 0, width: size, height: size, fill: "var(--faint)" }), squares, numbers, texts,
      svg("text", { class: "axis", x: left + size, y: size + 18, "text-anchor": "end" }, "answer, in the same order →")));
  });
  return place;
}

function confusion(net) {
  const answers = net.answers;
  const top = answers.pairs.slice(0, 10);
  const rows = top.map(([row, column, count]) => [el("span", {}, className(row)), el("span", {}, className(column)), `${count} of ${answers.classes[row][0]}`]);
  const list = rows.length ? table("Most frequent mistakes", ["true class", "answered", "times"], rows, { class: "scroll all lefts" })
    : el("p", { class: "note" }, "No mistakes on the test images.");
  const more = answers.kinds > top.length ? ` ${whole(answers.kinds)} kinds of mistakes in all.` : "";
  return el("div", { class: "columns two" },
    el("div", {}, el("h3", {}, "Confusion matrix"),
      el("p", { class: "hint" }, "Rows are true classes, columns answers, in the order of the classes; the stronger, the larger the share of the row."),
      answers.classes.length <= MATRIX ? matrix(answers) : el("p", { class: "note" }, `${answers.classes.length} classes are too many to draw.`)),
    el("div", {}, el("h3", {}, "Most frequent mistakes"), el("p", { class: "hint" }, `Test images of one class answered as another.${more}`), list));
}

function picture([position, label, answer, confidence], right) {
  const source = data.pictures[position];
  const alt = `Test image ${position} of class ${data.classes[label] ?? label}`;
  return el("figure", {},
    source && el("img", { src: source, alt, class: source.startsWith("data:image/png") ? "tiny" : null }),
    el("figcaption", {},
      right ? el("span", { class: "yes" }, "✓ ", className(label)) : [el("span", { class: "no" }, "✗ ", className(answer)), el("div", { class: "soft" }, "is ", className(label))],
      el("div", { class: "soft" }, `${(100 * confidence).toFixed(0)} % sure`)));
}

function pictures(net) {
  const kinds = [["wrong", "Wrong, the most confident mistakes"], ["right", "Right, drawn at random"]];
  const total = { wrong: Math.round((1 - net.answers.top1) * net.answers.images), right: Math.round(net.answers.top1 * net.answers.images) };
  const missing = Object.keys(data.pictures).length ? "" : " The images were not at hand when the report was written, so there are no pictures.";
  return [
    el("h3", {}, "Test images and answers"), missing && el("p", { class: "hint" }, missing),
    kinds.flatMap(([kind, title]) => net.examples[kind].length ? [
      el("p", { class: "hint" }, `${title}: ${net.examples[kind].length} of ${whole(total[kind])}`),
      el("div", { class: "pictures" }, net.examples[kind].map((row) => picture(row, kind === "right")))] : []),
  ];
}

function answersOf(net) {
  if (!net.answers) return el("p", { class: "hint" }, "What this net answers to each test image has not been kept.");
  return [confusion(net), el("div", {}, pictures(net))];
}
