"""What a bundle keeps of its net's answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from nat.predictions import FILE, Predictions

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2, 0])


def test_answers_are_kept_as_they_were(tmp_path: Path) -> None:
    made = Predictions.of(LOGITS, LABELS)
    made.save(tmp_path)
    kept = Predictions.read(tmp_path, 3)
    assert kept is not None
    assert kept.labels.tolist() == [0, 2, 0] and kept.answers.tolist() == [0, 2, 1]
    assert kept.right.tolist() == [True, True, False] and kept.top1 == pytest.approx(2 / 3)
    assert kept.confidence == pytest.approx(LOGITS.softmax(dim=1).max(dim=1).values.numpy())


def test_what_makes_no_sense_is_not_read(tmp_path: Path) -> None:
    assert Predictions.read(tmp_path, 3) is None
    Predictions.of(LOGITS, LABELS).save(tmp_path)
    assert Predictions.read(tmp_path, 2) is None, "an answer beyond the classes"
    (tmp_path / FILE).write_bytes(b"no such thing")
    assert Predictions.read(tmp_path, 3) is None
    whole = np.zeros(3, dtype=np.int32)
    save_file({"labels": whole, "answers": whole[:2].copy(), "confidence": whole.astype(np.float32)}, tmp_path / FILE)
    assert Predictions.read(tmp_path, 3) is None, "as many answers as labels"
