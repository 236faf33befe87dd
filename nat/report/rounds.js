// The search: which choices matter, what each round found, where the time went.

function showGenes() {
  const found = data.genes;
  if (!found || !found.genes.length) {
    section("genes", "Which choices matter", el("p", { class: "note" }, "Too few evaluations, or too old an archive, to tell."));
    return;
  }
  const genes = [...found.genes].sort((a, b) => Math.abs(b.gain) - Math.abs(a.gain));
  const ends = genes.flatMap((gene) => [gene.gain - 1.96 * gene.deviation, gene.gain + 1.96 * gene.deviation, 0]);
  const low = Math.min(...ends), high = Math.max(...ends);
  const at = (value) => (100 * (value - low)) / (high - low || 1);
  const rows = genes.map((gene) => {
    const half = 1.96 * gene.deviation, from = Math.min(gene.gain, 0), to = Math.max(gene.gain, 0);
    return el("div", { class: "effect", role: "listitem" },
      el("div", {}, gene.name[0].toUpperCase() + gene.name.slice(1), " ", el("small", {}, `${gene.low} → ${gene.high}`)),
      el("div", { class: "bar", "aria-hidden": "true" },
        el("i", { class: gene.gain < 0 ? "less" : "", style: { left: `${at(from)}%`, width: `${at(to) - at(from)}%` } }),
        el("u", { style: { left: `${at(gene.gain - half)}%`, width: `${at(gene.gain + half) - at(gene.gain - half)}%` } }),
        el("s", { style: { left: `${at(0)}%` } })),
      el("div", { class: "says" }, `${points(gene.gain)} ± ${(100 * half).toFixed(2)}`, el("small", {}, ` · ${gene.macs.toFixed(2)}× MACs`)));
  });
  section("genes", "Which choices matter",
    el("p", { class: "note" }, `Change of top-1 accuracy in the search, in percentage points, from the least to the greatest choice of each gene, all others staying as they are in ${found.subnets} evaluated subnets: ${found.method} fitted to ${found.evaluations} evaluations. The thin lines are 95 % intervals of the model; those that cross the upright line tell nothing. Right of it, what it costs.`),
    el("div", { class: "effects", role: "list" }, rows));
}

function showRounds() {
  const rounds = data.rounds;
  if (!rounds.length) {
    section("rounds", "Round by round", el("p", { class: "note" }, "The run keeps no records of its rounds."));
    return;
  }
  const of = (key) => rounds.map((round) => [round.round, round[key]]);
  const columns = ["round", "evaluations", "failed", "hypervolume", "judged", "Kendall tau", "Spearman", "bias", "in 50 %", "in 90 %", "time"];
  const cells = rounds.map((r) => [String(r.round), whole(r.evaluations), whole(r.failed), fixed(r.hypervolume, 4), whole(r.compared),
    fixed(r.kendall_tau, 2), fixed(r.spearman, 2), known(r.bias) ? points(r.bias) : "–", percent(r.within_50, 0), percent(r.within_90, 0), r.seconds ? duration(r.seconds) : "–"]);
  section("rounds", "Round by round",
    el("p", { class: "note" }, "Predictions are judged on subnets that the surrogate had not seen, against what was measured afterwards."),
    el("div", { class: "thirds" },
      lineChart("Hypervolume", "Share of the box that each round's front dominates, with its own weights.", of("hypervolume"), (v) => v.toFixed(3)),
      lineChart("Surrogate: Kendall's tau", "1: new subnets ranked as measured. 0: by chance.", of("kendall_tau"), (v) => v.toFixed(2), [0, 1]),
      lineChart("Surrogate: calibration", "Share of measured errors inside the 90 % intervals predicted.", of("within_90"), (v) => `${Math.round(100 * v)} %`, [0, 1])),
    el("p", {}), table("Rounds", columns, cells));
}

const PARTS = {
  prepare: ["preparing the supernet", "#8b97a6"], adapt: ["adapting the supernet", "#0072b2"], evaluate: ["evaluating subnets", "#56b4e9"],
  fit: ["fitting surrogates", "#cc79a7"], evolve: ["evolving candidates", "#009e73"], finetune: ["fine-tuning and measuring", "#d98200"],
  other: ["everything else", "#b9a24a"],
};

function showCost() {
  const parts = Object.entries(data.cost).filter(([, seconds]) => seconds > 0);
  const total = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  if (!total) {
    document.getElementById("cost").hidden = true;
    return;
  }
  const color = (part) => ({ "--part": PARTS[part][1] });
  const rows = parts.map(([part, seconds]) => [[el("span", { class: "swatch", style: color(part) }), PARTS[part][0]], duration(seconds), percent(seconds / total, 1)]);
  section("cost", "Where the time went",
    el("p", { class: "note" }, `${duration(total)} of wall-clock time on ${data.config.device ?? "this machine"}, ${data.config.threads ?? "?"} thread${data.config.threads === 1 ? "" : "s"}; ${whole(data.front.evaluations ?? 0)} evaluations.`),
    el("div", { class: "stack", "aria-hidden": "true" }, parts.map(([part, seconds]) => el("i", { style: { ...color(part), "flex-grow": String(seconds / total), "flex-basis": "0" } }))),
    table("Time by part", ["part", "time", "share"], rows));
}
