// The budget: the net that `nat pick` takes within it, and the command to type.

const STEPS = 200;
const pickable = data.pareto.map((id) => ({ id, ...data.nets[id] }));

function picked(budget) {
  // They come in the order of nat.fronts.choices: the best first.
  return pickable.find((net) => net.macs <= budget) || null;
}

function rounded(macs, up) {
  // To three digits, as it is typed; [text for the command, the number that it says].
  const power = 10 ** (Math.floor(Math.log10(macs)) - 2);
  const value = (up ? Math.ceil(macs / power - 1e-9) : Math.round(macs / power)) * power;
  const text = value >= 1e9 ? [value / 1e9, "G"] : value >= 1e6 ? [value / 1e6, "M"] : [value / 1e3, "k"];
  const number = Number(text[0].toPrecision(3));
  return [`${number}${text[1]}`, Math.round(number * { G: 1e9, M: 1e6, k: 1e3 }[text[1]])];
}

const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

function copyButton(text) {
  const button = el("button", { type: "button", "aria-label": "Copy the command" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

function budgetPanel() {
  if (!pickable.length || !data.finished) {
    const why = data.finished ? "The run's archive is not there or of an older version, so that nothing can be picked here."
      : "Once the run is finished, a budget can be chosen here.";
    return el("div", { class: "picked" }, el("h3", {}, "Pick for a budget"), el("p", { class: "hint" }, why));
  }
  const sizes = pickable.map((net) => net.macs), least = Math.min(...sizes), most = Math.max(...sizes);
  const ratio = most / least;
  const at = (step) => rounded(least * ratio ** (step / STEPS), step === 0 || step === STEPS || ratio === 1);
  const slider = el("input", { type: "range", id: "budget", min: 0, max: STEPS, step: 1, value: STEPS, "aria-describedby": "picked" });
  const out = el("output", { for: "budget", id: "budget-text" });
  const result = el("div", { id: "picked", "aria-live": "polite" }), command = el("code", { id: "pick-command" });
  const update = () => {
    const [text, budget] = at(Number(slider.value)), net = picked(budget);
    out.textContent = `${text.replace(/([kMG])$/, " $1")} multiply-adds`;
    slider.setAttribute("aria-valuetext", `${out.textContent}${net ? `: ${net.id}` : ""}`);
    const words = [`nat pick ${quoted(data.run)}`, `--max-macs ${text}`, net && !net.finetuned && "--finetune", `-o ${net ? net.id : "picked"}`];
    command.replaceChildren(...words.filter(Boolean).flatMap((word, i) => [i ? " " : "", el("span", { class: i ? "word" : null }, word)]));
    result.replaceChildren(...[
      el("p", {}, "nat pick takes ", net ? idButton(net.id) : "no net: none is within it", net ? ":" : "."),
      net && el("dl", { class: "tiles" },
        el("div", {}, el("dt", {}, net.finetuned ? "test accuracy" : "in the search"),
          el("dd", {}, percent(net.finetuned ? net.test_top1 : net.val_top1),
            el("small", {}, net.finetuned ? range(net.test_interval) : "validation, supernet's weights"))),
        el("div", {}, el("dt", {}, "multiply-adds"), el("dd", {}, amount(net.macs), el("small", {}, `${amount(net.params)} parameters`)))),
      net && !net.finetuned && el("p", { class: "hint" }, "The run has not fine-tuned this net: --finetune does it."),
    ].filter(Boolean));
    change({ budget: Number(slider.value) < STEPS ? budget : null, pick: net && net.id });
  };
  slider.addEventListener("input", update);
  const panel = el("div", { class: "picked" },
    el("h3", {}, "Pick for a budget"),
    el("div", { class: "slider" }, el("label", { for: "budget" }, "At most ", out), slider),
    result,
    el("div", { class: "command" }, command, copyButton(() => command.textContent)),
    el("p", { class: "hint" }, "Of all subnets that were measured with the final weights, the one most accurate on validation images."));
  state.listeners.push((what) => "start" in what && update());
  return panel;
}
