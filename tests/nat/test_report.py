"""What reports count, say and embed, without a run."""

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from nat.archive import Evaluation
from nat.objectives import ERROR
from nat.predictions import Predictions
from nat.problem import SearchProblem
from nat.report import page as pages
from nat.report.answers import answer_table, examples, images_shown
from nat.report.content import costs
from nat.report.drawing import drawing
from nat.report.genes import effects
from nat.report.headline import best_of
from nat.supernet.costs import costs_of
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace


def answered(images: int = 200, classes: int = 5) -> Predictions:
    """Answers of a net that is right on about half of the images."""
    logits = torch.randn(images, classes, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(images) % (classes - 1)  # the last class has no images
    logits[torch.arange(0, images, 2), labels[::2]] += 3
    return Predictions.of(logits, labels)


def test_answers_are_counted_as_scikit_learn_counts_them() -> None:
    predictions = answered()
    table = answer_table(predictions, 5)
    expected = confusion_matrix(predictions.labels, predictions.answers, labels=range(5))
    found = np.diag([right for _, _, right in table["classes"]])
    for row, column, count in table["pairs"]:
        found[row, column] = count
    assert (found == expected).all() and table["kinds"] == len(table["pairs"])
    counts = np.array(table["classes"][:4])
    truth, answers = predictions.labels, predictions.answers
    recall = recall_score(truth, answers, average=None, labels=range(4))
    precision = precision_score(truth, answers, average=None, labels=range(4))
    assert counts[:, 2] / counts[:, 0] == pytest.approx(recall)
    assert counts[:, 2] / counts[:, 1] == pytest.approx(precision)
    assert table["top1"] == pytest.approx(float((truth == answers).mean()))
    assert table["balanced"] == pytest.approx(recall.mean())


def test_examples_are_the_most_confident_mistakes_and_the_same_draw_of_right_ones() -> None:
    predictions = answered()
    shown = examples(predictions, 4)
    confidence = predictions.confidence[~predictions.right]
    assert [row[3] for row in shown["wrong"]] == pytest.approx(sorted(confidence)[::-1][:4], abs=1e-4)
    assert all(row[1] != row[2] for row in shown["wrong"]) and all(row[1] == row[2] for row in shown["right"])
    everything = Predictions(predictions.labels, predictions.labels, predictions.confidence)
    perfect = examples(everything, 200)
    assert perfect["wrong"] == [] and len(perfect["right"]) == 200
    order = [row[0] for row in perfect["right"]]
    assert [row[0] for row in shown["right"]] == [i for i in order if predictions.right[int(i)]][:4]
    assert images_shown({"a": shown, "b": shown}) == sorted({int(r[0]) for k in shown.values() for r in k})


def test_genes_tell_what_errors_were_made_of(space: MobileNetSpace, problem: SearchProblem) -> None:
    """Errors fall with the resolution and with the depth of stage 2, and with nothing else."""
    nets = list(dict.fromkeys(space.decode(sample_uniform(space, 60, np.random.default_rng(1)))))
    errors = [0.5 - 0.1 * (net.resolution == 32) - 0.05 * (net.depths[1] == 2) for net in nets]
    rows = [
        Evaluation(net, {ERROR: error, **problem.known_of(net)}, 0, 0) for net, error in zip(nets, errors, strict=True)
    ]
    found = effects(problem, rows)
    assert found is not None and found["evaluations"] == len(rows)
    genes = {gene["name"]: gene for gene in found["genes"]}
    assert len(genes) == len(found["genes"]) == 1 + 3 * 5
    assert genes["input size"]["gain"] == pytest.approx(0.1, abs=0.02)
    assert genes["stage 2 depth"]["gain"] == pytest.approx(0.05, abs=0.02)
    assert genes["stage 2 depth"]["low"] == "1" and genes["input size"]["high"] == "32 px"
    others = [gene for name, gene in genes.items() if name not in ("input size", "stage 2 depth")]
    assert all(abs(gene["gain"]) < 0.02 and gene["deviation"] >= 0 for gene in others)
    assert all(gene["macs"] > 1 for gene in genes.values()), "more of anything costs more"


def test_genes_say_nothing_where_there_is_nothing_to_say(
    problem: SearchProblem, evaluate: Any, architectures: Any
) -> None:
    nets = architectures(12)
    assert effects(problem, evaluate(problem, nets[:5], [0.1, 0.2, 0.3, 0.4, 0.5])) is None
    assert effects(problem, evaluate(problem, nets, [0.2] * 12)) is None


def test_a_drawing_has_the_layers_of_the_network(space: MobileNetSpace) -> None:
    net = space.largest()
    drawn = drawing(space, net)
    assert [len(stage["blocks"]) for stage in drawn["stages"]] == list(net.depths)
    assert [block[0] for stage in drawn["stages"] for block in stage["blocks"]] == list(net.kernels)
    assert [block[1] for stage in drawn["stages"] for block in stage["blocks"]] == list(net.expands)
    sizes = [drawn["input"], drawn["stem"]["size"], *(stage["size"] for stage in drawn["stages"])]
    assert sizes == [32, 16, 8, 4, 2, 2, 1]
    # the multiply-adds of what is drawn, but for squeeze-and-excite, are those of the network
    total, channels = 27 * drawn["stem"]["channels"] * 16**2, drawn["fixed"]["channels"]
    total += (9 * drawn["stem"]["channels"] + drawn["stem"]["channels"] * channels) * 16**2
    size = 16
    for stage in drawn["stages"]:
        for kernel, _, middle in stage["blocks"]:
            total += channels * middle * size**2 + (kernel**2 + stage["channels"]) * middle * stage["size"] ** 2
            size, channels = stage["size"], stage["channels"]
    head = drawn["head"]
    total += channels * head[0] * size**2 + head[0] * head[1] + head[1] * 3
    macs = costs_of(net, 3)[0]
    assert 0.95 * macs < total < macs


def test_costs_add_up_to_the_time_of_the_run() -> None:
    events = [
        {"event": "start", "seconds": 2.0, "elapsed": 3.0},
        {"event": "propose", "seconds": 5.0, "elapsed": 8.0, "fit": 1.0, "evolve": 3.0},
        {"event": "adapt", "seconds": 10.0, "elapsed": 18.0},
        {"event": "finetune", "seconds": 7.0, "elapsed": 26.0},
    ]
    found = costs(events)
    assert sum(found.values()) == pytest.approx(26.0)
    assert (found["fit"], found["evolve"], found["adapt"], found["finetune"], found["other"]) == (1, 3, 10, 7, 3)
    assert costs([]) == dict.fromkeys(found, 0.0)


def test_the_best_net_is_the_most_accurate_and_then_the_cheapest() -> None:
    def net(id: str, macs: int, search: float, tuned: float | None) -> dict[str, Any]:
        return {"id": id, "macs": macs, "val_top1": search, "finetuned_val_top1": tuned}

    assert best_of([net("a", 1, 0.9, 0.8), net("b", 3, 0.5, 0.9), net("c", 2, 0.5, 0.9)]) == "c"
    assert best_of([net("a", 1, 0.9, None), net("b", 3, 0.5, None)]) == "a"
    fair = [net("a", 1, 0.9, 0.8) | {"balanced_error": 0.1}, net("b", 3, 0.5, 0.9) | {"balanced_error": 0.2}]
    assert best_of(fair, "balanced_error") == "a" and best_of(fair) == "b"
    assert best_of([]) is None


ANY_TEXT = st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@settings(max_examples=30)
@given(ANY_TEXT)
def test_any_text_is_embedded_without_an_end_of_the_script(content: Any) -> None:
    text = pages.embedded(content)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == content


NASTY = ("</script><script>alert(1)</script>", "<!--", "]]>", "&amp;", "\"'", "\u2028", "猫", "\ud800")


def content_of(**more: Any) -> dict[str, Any]:
    made = {"version": "<0>", "time": "now"}
    return {"made": made, "headline": {"title": NASTY[0]}, "notes": [], "pictures": {}, **more}


def test_nothing_that_is_said_becomes_markup() -> None:
    text = pages.page(content_of(classes=NASTY))
    assert text.count("<script") == text.count("</script>") == 2
    assert "alert(1)</" not in text and "<0>" not in text
    data = json.loads(re.findall('<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[0])
    assert data["classes"][:-1] == list(NASTY[:-1]), "but for half of a character, which no file can hold"
    assert "$" not in re.sub("<(style|script).*?</\\1>", "", text, flags=re.DOTALL), (
        "every place of the template is filled"
    )


def test_the_policy_allows_the_script_and_style_of_the_page_and_no_address() -> None:
    text = pages.page(content_of())
    policy = re.findall('Content-Security-Policy" content="(.*?)"', text)[0]
    for tag in ("style", "script"):
        body = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "http" not in policy
    addresses = set(re.findall("https?://[^\"'` ]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of a namespace, which nothing fetches"


def test_a_page_that_would_be_too_large_loses_its_pictures_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 200_000)
    text = pages.page(content_of(pictures={"1": "x" * 250_000}))
    assert len(text.encode()) < 200_000 and "pictures of test images were left out" in text
    with pytest.raises(pages.RunError, match="expected a report of under 6 MB"):
        pages.page(content_of(classes=["x" * 250_000]))
