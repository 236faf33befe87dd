// The frame: headline, settings, theme; then everything is drawn.

function themeButton() {
  const root = document.documentElement, order = ["auto", "light", "dark"];
  const button = el("button", { class: "theme", type: "button", id: "theme" });
  const set = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    button.dataset.theme = theme;
  };
  button.addEventListener("click", () => set(order[(order.indexOf(button.dataset.theme) + 1) % 3]));
  set("auto");
  return button;
}

function comparisons() {
  // The search's nets beside each control that can be compared, with the numbers of the verdict.
  const found = data.front.comparisons || [];
  const row = ({ control, net, difference, low, high, reached_by: reached }) => {
    const beside = Object.values(data.nets).find((other) => other.control === control), ours = data.nets[net];
    if (!beside || !ours) return null;
    const share = (id) => [idButton(id), ` ${(data.nets[id].macs / beside.macs).toFixed(2)}×`];
    const side = low > 0 ? "better" : high < 0 ? "worse" : "even";
    return [control, el("b", { class: side }, `${points(difference, 1)} (${signed(low, 1)} to ${signed(high, 1)})`),
      share(net), percent(ours.test_top1), percent(beside.test_top1), reached === undefined ? "" : reached && data.nets[reached] ? share(reached) : "none"];
  };
  const rows = found.map(row).filter(Boolean);
  if (!rows.length) return null;
  const columns = ["control", "difference, 95 % interval", "best net within its MACs", "its test", "the control's", "as good on validation"];
  return [table("The search's nets against controls", columns, rows, { id: "compared" }),
    el("p", { class: "note" }, "Differences are of the same test images (paired bootstrap). The last column is the cheapest net of the search that reaches the control on validation images; × is multiply-adds against the control's.")];
}

function showHeadline() {
  const line = data.headline, net = line.best && data.nets[line.best], cheap = line.cheapest && data.nets[line.cheapest];
  document.getElementById("top").replaceChildren(
    el("div", {}, el("p", { class: "eyebrow" }, "Neural architecture transfer"), el("h1", {}, name(line.title))),
    themeButton(), el("p", { class: "asked" }, line.asked));
  const tile = (term, value, small) => el("div", {}, el("dt", {}, term), el("dd", {}, value, small && el("small", {}, small)));
  const tuned = net && known(net.test_top1);
  const best = net && el("dl", { class: "tiles" },
    tile(data.finished ? "best net, on validation" : "best so far", idButton(line.best), tuned ? "fine-tuned" : "not fine-tuned"),
    tuned ? tile("its test accuracy", percent(net.test_top1), range(net.test_interval)) : tile("accuracy in the search", percent(net.val_top1)),
    tile("its multiply-adds", amount(net.macs), `${amount(net.params)} parameters`),
    cheap && line.cheapest !== line.best && tile("as good, but cheaper", idButton(line.cheapest), `${percent(cheap.test_top1)}, ${amount(cheap.macs)}`));
  const place = document.getElementById("headline");
  place.replaceChildren(...[
    !data.finished && el("p", { class: "warn", id: "unfinished" }, `This run is not finished, and nothing here is final: ${line.verdict || "go on with nat resume"}`),
    best,
    data.finished && line.verdict && el("p", { class: "lead", id: "verdict" }, linked(line.verdict)),
    ...(data.finished && comparisons() || []),
    line.more.length > 0 && el("ul", { class: "plain" }, line.more.map((sentence) => el("li", {}, linked(sentence)))),
  ].filter(Boolean));
  if (data.notes.length) place.append(el("p", {}), el("ul", { class: "plain", id: "notes" }, data.notes.map((note) => el("li", {}, note))));
  if (!place.childElementCount) place.hidden = true;
}

function facts(entries) {
  const text = (value) => (value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const rows = Object.entries(entries).map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", {}, name(text(value)))));
  return el("table", {}, el("tbody", {}, rows));
}

function showSettings() {
  const { options = {}, data: images = {}, versions = {}, threads, device } = data.config;
  const { overrides = {}, ...rest } = options;
  const failures = data.front.failures || { count: 0, reasons: [] };
  const group = (title, entries, open) => Object.keys(entries).length > 0 && el("details", { open }, el("summary", {}, title), facts(entries));
  section("settings", "Settings, versions, data",
    group("Data", images, true),
    group("What was asked", { ...rest, device, threads }),
    group("Amounts", typeof overrides === "object" ? overrides : {}),
    group("Versions", versions),
    data.front.latency && group("Latency table", data.front.latency),
    failures.count > 0 && el("details", { open: true }, el("summary", {}, `${failures.count} failed evaluations`),
      table("Failures", ["reason", "times"], failures.reasons.map((reason) => [el("span", {}, reason.error), String(reason.count)]))));
}

function start() {
  state.selected = data.headline.best || shownNets[0] || data.pareto[0] || null;
  showHeadline();
  showFront();
  showSubnet();
  showGenes();
  showRounds();
  showCost();
  showSettings();
  document.getElementById("foot").replaceChildren(
    el("p", {}, "Multiply-adds (MACs) are those of convolutions and linear layers for one image. Test images were used once, for the nets that are reported; validation images drove the search. ",
      `Written by the NAT toolkit ${data.made.version}, ${data.made.time}, from `, el("code", {}, name(data.run)), "."));
  change({ start: true });
}

start();
