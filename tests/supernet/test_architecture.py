import json

import numpy as np
import pytest

from nat.errors import InputError
from nat.supernet.architecture import Architecture

NET = Architecture((3, 5, 7, 3, 5, 7), (3, 4, 6, 3, 4, 6), (2, 1, 1, 1, 1), 64, 1.2)
JSON = {"ks": [3, 5, 7, 3, 5, 7], "e": [3, 4, 6, 3, 4, 6], "d": [2, 1, 1, 1, 1], "r": 64, "w": 1.2}
PADDED = {
    "ks": [3, 5, 7, 9, 3, 7, 5, 3, 7, 0],
    "e": [3, 4, 6, 3, 3, 4, 4, 6, 6, 3],
    "d": [2, 1, 1, 1, 1],
    "r": [64],
    "w": 1.2,
    "wid": None,
}


@pytest.mark.parametrize(
    "spelling",
    [
        JSON,
        PADDED,
        {**JSON, "space": "mobilenetv3"},
        {**JSON, "e": [3.0, 4.0, 6.0, 3, 4, 6], "ks": [3.0, 5, 7, 3, 5, 7], "r": 64.0},
        json.loads(json.dumps(NET.to_json())),
    ],
)
def test_all_spellings_of_one_network_are_equal_with_one_id(spelling: dict[str, object]) -> None:
    net = Architecture.from_json(spelling)
    assert net == NET
    assert (hash(net), net.id) == (hash(NET), NET.id)
    assert net.to_json() == {"space": "mobilenetv3", **JSON}


def test_python_and_numpy_numbers_are_one_spelling() -> None:
    net = Architecture(
        kernels=np.array(NET.kernels),  # type: ignore[arg-type]
        expands=[float(e) for e in NET.expands],  # type: ignore[arg-type]
        depths=np.array(NET.depths),  # type: ignore[arg-type]
        resolution=np.int64(64),  # type: ignore[arg-type]
        width=np.float64(1.2),
    )
    assert net == NET
    assert net.id == NET.id


def test_width_is_1_where_a_file_has_none() -> None:
    without = {key: value for key, value in JSON.items() if key != "w"}
    assert Architecture.from_json(without).width == 1.0
    assert Architecture.from_json({**without, "w": None}) == Architecture.from_json({**without, "w": 1})


def test_id_is_a_fixed_function_of_the_canonical_json() -> None:
    # what sha256sum says of the canonical JSON:
    # {"d":[2,1,1,1,1],"e":[3,4,6,3,4,6],"ks":[3,5,7,3,5,7],"r":64,"space":"mobilenetv3","w":1.2}
    assert NET.id == "c414d338c8"


def test_different_networks_have_different_ids() -> None:
    others = [{**JSON, "r": 72}, {**JSON, "w": 1.0}, {**JSON, "d": [1, 2, 1, 1, 1]}, {**JSON, "e": [3, 4, 6, 3, 4, 4]}]
    assert len({NET.id, *(Architecture.from_json(other).id for other in others)}) == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], "JSON object, got list"),
        ({"ks": [3]}, "e, d, r missing"),
        ({**JSON, "space": 7}, "name of a space, got 7"),
        ({**JSON, "ks": "357"}, "list of numbers as 'ks'"),
        ({**JSON, "ks": [3, 5, None, 3, 5, 7]}, "numbers in 'ks', got None"),
        ({**JSON, "ks": [3.5, 5, 7, 3, 5, 7]}, "whole numbers of at least 0 in 'ks', got 3.5"),
        ({**JSON, "e": [True, 4, 6, 3, 4, 6]}, "numbers in 'e', got True"),
        ({**JSON, "e": [float("nan"), 4, 6, 3, 4, 6]}, "numbers in 'e', got nan"),
        ({**JSON, "d": [2, 1, 1, 1, -1]}, "at least 0 in 'd', got -1"),
        ({**JSON, "r": [64, 72]}, "one resolution 'r', got 2"),
        ({**JSON, "w": "wide"}, "numbers in 'w', got 'wide'"),
        ({**JSON, "ks": [3, 5, 7]}, "'ks' to list 6 present layers .* got 3 values"),
        ({**JSON, "d": []}, "0 present layers"),
    ],
)
def test_unusable_json_is_refused_in_one_sentence(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Architecture.from_json(data)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_kernels_that_are_no_integers_are_refused() -> None:
    with pytest.raises(InputError, match=r"whole numbers as kernels, got \[3\.0, 5\]"):
        Architecture((3.0, 5), (4, 4), (2,), 64)  # type: ignore[arg-type]


def test_lists_that_do_not_fit_the_depths_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected 6 kernel sizes and expand ratios .* got 5 and 6"):
        Architecture((3,) * 5, (4,) * 6, (2, 1, 1, 1, 1), 64)
