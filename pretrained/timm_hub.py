"""Published weights of timm's networks, and what to do where they cannot be had."""

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache  # timm itself needs it
from huggingface_hub.errors import HfHubHTTPError
from timm import create_model
from timm.models import get_pretrained_cfg
from torch import nn

from nat.errors import InputError, reason_of

PATIENCE = 10.0  # seconds that the hub has to answer


def published(model: str, spelling: str) -> nn.Module:
    """A network of timm in evaluation mode, with the weights that timm downloads or takes from its cache.

    Args:
        model: its name.
        spelling: how a command names a file instead, for the error.

    Raises:
        InputError: the weights cannot be had.
    """
    try:
        _check_reachable(model)
        network: nn.Module = create_model(model, pretrained=True)
    except Exception as error:  # a hub fails in many ways
        raise InputError(
            f"cannot get the weights of '{model}' ({reason_of(error)}). {_by_hand(model)} and name it: {spelling}."
        ) from error
    return network.eval()


def _check_reachable(model: str) -> None:
    """Raises what is wrong with the hub, where weights are not in its cache: timm would try for a minute."""
    config = get_pretrained_cfg(model)
    if config is None or not config.hf_hub_id:
        return
    repository, own = config.hf_hub_id, config.hf_hub_filename
    names = (own,) if own else ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in names):
        return
    for last in (False, True):
        try:
            get_hf_file_metadata(hf_hub_url(repository, names[0]), timeout=PATIENCE)
        except HfHubHTTPError:
            return  # it answers; timm knows where else to look
        except Exception:  # a hub fails in many ways
            if last:
                raise
        else:
            return


def _by_hand(model: str) -> str:
    """How to come by a file of the weights of a known model."""
    config = get_pretrained_cfg(model)
    if config is None or not config.hf_hub_id:
        return "There are none of it on the Hugging Face hub: take a file of your own"
    file = config.hf_hub_filename or "model.safetensors"
    return f"Without a network, fetch '{file}' of '{config.hf_hub_id}' on the Hugging Face hub elsewhere"
