import json
from pathlib import Path

import pytest

from nat.efforts import Effort, efforts
from nat.errors import InputError
from nat.options import TransferOptions
from nat.settings import checked, read_config


def test_all_mistakes_are_named_at_once() -> None:
    values = efforts()["quick"].model_dump() | {
        "initial": 0,
        "front": "many",
        "finetuning": "5 moons",
        "learning_rate": -1,
    }
    with pytest.raises(InputError) as error:
        checked(Effort, values)
    for fragment in ("initial", "0", "front", "'many'", "finetuning", "5 moons", "learning_rate", "-1"):
        assert fragment in str(error.value)


def test_mistakes_in_settings_and_overrides_are_named_together() -> None:
    values = {"data": " ", "seed": -1, "max_macs": "many", "sed": 1, "overrides": {"rouns": 3, "front": 0}}
    with pytest.raises(InputError) as error:
        checked(TransferOptions, values)
    for fragment in ("data", "seed", "-1", "30M", "'many'", "sed", "rouns", "rounds", "front", "got 0"):
        assert fragment in str(error.value)
    assert str(error.value).count("settings that cannot be used") == 1


def test_config_files_in_both_languages(tmp_path: Path) -> None:
    options = TransferOptions(data="digits", max_macs=5, resolutions=(24, 32), overrides={"rounds": 2})
    (tmp_path / "a.json").write_text(options.model_dump_json())
    (tmp_path / "run.json").write_text(json.dumps({"options": options.model_dump(mode="json"), "amounts": {}}))
    (tmp_path / "a.toml").write_text('data = "digits"\nmax_macs = 5\nresolutions = [24, 32]\n[overrides]\nrounds = 2\n')
    for name in ("a.json", "run.json", "a.toml"):
        assert checked(TransferOptions, read_config(tmp_path / name)) == options


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b"3", b"\xff\xfe", b'{"options": []}'])
def test_config_files_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_config(tmp_path / "a.json")
