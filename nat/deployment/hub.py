"""Bundles on the Hugging Face hub: pushed with a model card, pulled as safetensors and JSON alone, and verified."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nat.bundle import Bundle, load_bundle, whole_folder
from nat.datasets.catalogue import list_datasets
from nat.datasets.loading import HUB
from nat.deployment.formats import needed
from nat.errors import CheckpointError, InputError
from nat.files import write_json, write_text
from nat.model_card import model_card
from nat.run_folder import check_new
from nat.timm_config import timm_config

COPIED = ("model.safetensors", "architecture.json", "preprocess.json", "labels.json")
WRITTEN = ("metrics.json", "config.json", "README.md")
LIBRARY = "neural-architecture-transfer"


def push(path: Path, repo: str, *, private: bool = False, licence: str = "unknown") -> str:
    """Uploads a bundle, with its exports if it has some, to a model repository, which is made if need be.

    Where the images lie on this machine is left out of metrics.json.

    Args:
        path: folder of the bundle.
        repo: "USER/NAME".
        private: of a new repository.
        licence: for the model card, as the hub spells it ("apache-2.0").

    Returns:
        The address of the repository.

    Raises:
        InputError: the folder is no bundle, the name is malformed, or the hub cannot be reached or refuses.
    """
    hub, bundle = needed("huggingface_hub"), load_bundle(path)
    with TemporaryDirectory() as folder, _said(repo):
        _fill(Path(folder), bundle, repo, licence)
        api = hub.HfApi()
        made = api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        message = f"Subnet {bundle.model.architecture.id}"
        api.upload_folder(repo_id=repo, repo_type="model", folder_path=folder, commit_message=message)
    return str(made)


def pull(repo: str, out: Path, revision: str | None = None) -> Bundle:
    """Downloads a bundle to a folder that must not exist and verifies it; the folder appears whole.

    Only JSON, safetensors and the card are fetched. The weights must have the hub's SHA-256, fit the architecture, and
    the architecture must be the one that metrics.json speaks of.

    Args:
        repo: "USER/NAME".
        out: the folder.
        revision: branch, tag or commit; None for the newest.

    Raises:
        InputError: the hub cannot be reached or has no such repository.
        CheckpointError: what it has is no bundle, or damaged.
    """
    hub, out = needed("huggingface_hub"), out.expanduser()
    check_new(out)  # before any work
    with whole_folder(out) as draft:
        with _said(repo):
            api = hub.HfApi()
            info = api.model_info(repo, revision=revision, files_metadata=True)
            files = [*COPIED, *WRITTEN]
            api.snapshot_download(repo, revision=info.sha, local_dir=str(draft), allow_patterns=files)
        shutil.rmtree(draft / ".cache", ignore_errors=True)  # the library's notes
        _verify(repo, draft, info)
    return load_bundle(out)


def _fill(folder: Path, bundle: Bundle, repo: str, licence: str) -> None:
    """Everything that is uploaded."""
    for name in COPIED:
        shutil.copyfile(bundle.path / name, folder / name)
    data = bundle.metrics["data"]
    source = data["source"] if _published(data) else data["name"]
    public = {**bundle.metrics, "data": {**data, "source": source, "data_root": None}}
    write_json(folder / "metrics.json", public)
    write_json(folder / "config.json", timm_config(bundle.model, bundle.preprocess, bundle.labels))
    write_text(folder / "README.md", card(bundle, repo, licence))
    if (bundle.path / "exports" / "export.json").is_file():
        shutil.copytree(bundle.path / "exports", folder / "exports")


def card(bundle: Bundle, repo: str, licence: str) -> str:
    """README.md of a repository: the bundle's card with the header that the hub reads, and how to get it."""
    hub, name = needed("huggingface_hub"), repo.rpartition("/")[2]
    data, test = bundle.metrics["data"], bundle.metrics["test"]
    result = hub.EvalResult(
        task_type="image-classification",
        dataset_type=_slug(data["name"]),
        dataset_name=data["name"],
        dataset_split="test",
        metric_type="accuracy",
        metric_name="top-1",
        metric_value=round(test["top1"], 6),
    )
    header = hub.ModelCardData(
        license=licence,
        library_name=LIBRARY,
        pipeline_tag="image-classification",
        tags=["image-classification", "neural-architecture-search", "timm", "pytorch"],
        datasets=[_published(data)] if _published(data) else None,
        metrics=["accuracy"],
        model_name=name,
        eval_results=[result],
    )
    body = model_card(bundle.model, bundle.preprocess, bundle.labels, bundle.metrics, name)
    return f"---\n{header.to_yaml()}\n---\n\n{body}\n{_USE.format(repo=repo, name=name)}"


_USE = """## Getting it

```
pip install 'neural-architecture-transfer[hub]'
nat pull {repo} {name}
nat predict {name} photo.jpg
```

Or through timm:

```python
import nat.timm_plugin
import timm

model = timm.create_model("hf-hub:{repo}", pretrained=True)
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```
"""


def _published(data: Mapping[str, Any]) -> str:
    """What others know the images by: a name of the catalogue, or a data set of the hub; empty for one's own."""
    source = str(data["source"])
    if source.startswith(HUB):
        return source.removeprefix(HUB).partition(":")[0]
    return source if source in {card.name for card in list_datasets()} else ""


def _slug(name: str) -> str:
    """A data set's name as the hub's header may have it."""
    return "".join(letter if letter.isalnum() or letter in "-_./" else "-" for letter in name) or "images"


def _verify(repo: str, folder: Path, info: Any) -> None:
    try:
        bundle = load_bundle(folder)
    except CheckpointError as error:
        raise CheckpointError(f"'{repo}' holds no sound bundle: {str(error).replace(f'{folder}', repo)}") from error
    for file in info.siblings:
        path = folder / file.rfilename
        wanted = None if file.lfs is None else file.lfs.sha256
        if wanted and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise CheckpointError(
                f"'{file.rfilename}' of '{repo}' came damaged: its SHA-256 is not {wanted}. Pull again."
            )
    if bundle.metrics["id"] != bundle.model.architecture.id:
        raise CheckpointError(
            f"'{repo}' is put together wrongly: its architecture is {bundle.model.architecture.id}, and "
            f"metrics.json speaks of {bundle.metrics['id']}."
        )


@contextmanager
def _said(repo: str) -> Iterator[None]:
    """Errors of the hub's library as the toolkit's, with what to do."""
    errors = needed("huggingface_hub.errors")
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except errors.HFValidationError as error:
        raise InputError(f"expected a repository as USER/NAME, got '{repo}'.") from error
    except errors.LocalTokenNotFoundError as error:
        raise InputError("you are not logged in to the Hugging Face hub: run 'hf auth login' first.") from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"access to '{repo}' must be granted: ask for it on its page, then 'hf auth login'."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"there is no repository '{repo}' that you may read. Check the name; for a private one: 'hf auth login'."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"'{repo}' has no such revision. Leave --revision out for the newest.") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise InputError(
                f"the hub does not let you into '{repo}' ({status}): run 'hf auth login' with a token that may write "
                "there."
            ) from error
        raise InputError(f"the hub answers {status or error} for '{repo}'. Try again later.") from error
    except Exception as error:
        if "Invalid metadata" in str(error):  # a plain ValueError of the library
            reason = " ".join(str(error).split("\n", 1)[-1].split())
            raise InputError(
                f"the hub does not take the model card of '{repo}': {reason}. Give --license as the hub spells it: "
                "apache-2.0, mit, other."
            ) from error
        if not _offline(error):
            raise
        raise InputError(
            f"the Hugging Face hub cannot be reached ({_first_line(error)}). Check the network, and that "
            "HF_HUB_OFFLINE is not set."
        ) from error


def _offline(error: BaseException) -> bool:
    """Whether an error, of whichever HTTP library, or what it came from, is one of the connection."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    known = {"ConnectionError", "TransportError", "Timeout", "TimeoutError", "LocalEntryNotFoundError"}
    known |= {"XetDownloadError"}  # of the store of large files
    return bool(kinds & known)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
