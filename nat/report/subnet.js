// The selected subnet: its numbers, its blocks, what it answers.

function stageRow(title, what, blocks) {
  return el("li", {}, el("div", { class: "what" }, el("b", {}, title), " ", what), el("div", { class: "row" }, blocks));
}

function blockOf([kernel, expand, channels], most) {
  const depth = { 3: "14%", 5: "30%", 7: "46%" }[kernel] || "22%";
  return el("div", { class: "block", style: { "--depth": depth } },
    el("b", {}, `${kernel}×${kernel}`), `×${expand} → ${channels}`, el("i", { style: { width: `${(100 * channels) / most}%` } }));
}

function architecture(blocks) {
  const most = Math.max(...blocks.stages.flatMap((stage) => stage.blocks.map((block) => block[2])));
  const plain = (title, text) => el("div", { class: "block plain" }, el("b", {}, title), text);
  const rows = [stageRow("Stem", `${blocks.input} → ${blocks.stem.size} px`, [
    plain("3×3, stride 2", `${blocks.stem.channels} channels`), plain("fixed block", `${blocks.fixed.channels} channels`)])];
  blocks.stages.forEach((stage, number) => {
    const count = stage.blocks.length;
    const absent = Array.from({ length: Math.max(0, stage.most - count) }, () => el("div", { class: "block absent" }, el("b", {}, "–"), "left out"));
    const notes = [`${stage.channels} channels, ${stage.size} px`, `${count} of ${stage.most} layers`];
    rows.push(stageRow(`Stage ${number + 1}`, `${notes.join(", ")}${stage.squeeze ? ", SE" : ""}`, [stage.blocks.map((block) => blockOf(block, most)), absent]));
  });
  const classes = data.classes.length || data.front.num_classes;
  rows.push(stageRow("Head", "", [blocks.head.map((width) => plain("1×1", `${width} channels`)), plain("classifier", `${classes} classes`)]));
  return [
    el("h3", {}, "Architecture"),
    el("p", { class: "hint" }, "One box is one layer: kernel, expand ratio → channels in between, which the bar below shows. Dashed: layers that the supernet has and this net leaves out. SE: with squeeze-and-excite."),
    el("ol", { class: "blocks", id: "architecture" }, rows),
  ];
}

function numbersOf(id) {
  const net = data.nets[id];
  const tile = (term, value, small) => el("div", {}, el("dt", {}, term), el("dd", {}, value, small && el("small", {}, small)));
  return el("dl", { class: "tiles" },
    tile("test accuracy", percent(net.test_top1), range(net.test_interval)),
    net.answers && tile("balanced accuracy", percent(net.answers.balanced), "test, mean over classes"),
    tile("validation", percent(net.finetuned_val_top1), range(net.val_interval)),
    known(net.val_top1) && tile("in the search", percent(net.val_top1), "supernet's weights"),
    tile("multiply-adds", amount(net.macs)),
    tile("parameters", amount(net.params)),
    tile("input", `${net.resolution} px`),
    extras.map((column) => known(net[column.name]) && tile(column.title, withUnit(net[column.name], column))));
}

function subnetBody(id) {
  const net = data.nets[id];
  const pickable = data.finished && data.pareto.includes(id);
  const place = net.folder ? el("p", { class: "note" }, net.blocks ? "Bundle: " : "Weights and metrics: ", el("a", { href: net.folder }, net.folder)) :
    el("p", { class: "note" }, `The run has no bundle of this net${pickable ? "; nat pick makes one" : ""}.`);
  return [
    numbersOf(id), el("p", {}), place,
    el("div", { class: `columns${net.blocks && net.answers ? " two" : ""}` },
      net.blocks && el("div", {}, architecture(net.blocks)), net.answers && el("div", {}, classTable(net))),
    el("p", {}), answersOf(net),
  ];
}

function showSubnet() {
  const all = [...new Set([...shownNets, ...data.pareto])].sort((a, b) => data.nets[a].macs - data.nets[b].macs);
  if (!all.length) {
    document.getElementById("subnet").hidden = true;
    return;
  }
  const options = all.map((id) => el("option", { value: id }, `${titleOf(id)} · ${amount(data.nets[id].macs)}`));
  const chooser = el("select", { "aria-label": "Subnet", onchange: () => select(chooser.value) }, options);
  const title = el("span", {}), body = el("div", {});
  section("subnet", ["Subnet ", title], el("p", { class: "note" }, chooser), body);
  follow((what) => {
    if (!("selected" in what) && !("sort" in what)) return;
    chooser.value = state.selected;
    const control = data.nets[state.selected].control;
    title.replaceChildren(el(isName(state.selected) ? "span" : "code", {}, state.selected), control && control !== state.selected ? `, ${control}` : "");
    body.replaceChildren(...subnetBody(state.selected).flat(3).filter(Boolean));
  });
}
