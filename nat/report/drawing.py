"""Architectures as data that a page can draw: stem, stages of blocks, head, with channels and map sizes."""

from typing import Any

from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace


def drawing(space: MobileNetSpace, architecture: Architecture) -> dict[str, Any]:
    """One architecture, block by block.

    Args:
        space: that it is of.
        architecture: what is drawn.

    Returns:
        `input`: pixels; `stem` and `fixed`: output channels and map size of the parts that are not searched; `stages`,
        each with `channels`, `size` of its maps in pixels, `most` layers, `stride`, `squeeze`, `activation` and
        `blocks`: [kernel, expand ratio, channels in between]; `head`: channels of the 1x1 convolutions, in order.
    """
    structure = space.structure
    sizes = space.map_sizes(architecture.resolution)
    fixed = {"channels": space.channels(structure.fixed), "size": sizes[0]}
    stages = []
    for index, stage in enumerate(structure.stages):
        stages.append(
            {
                "channels": space.channels(stage.width),
                "size": sizes[space.stage_offsets[index] + 1],
                "most": space.stage_depths[index][-1],
                "stride": stage.stride,
                "squeeze": stage.squeeze_excite,
                "activation": stage.activation,
                "blocks": [
                    [kernel, expand, space.slots[slot].mid_channels(expand)]
                    for slot, kernel, expand in space.active_slots(architecture)
                    if space.slots[slot].stage == index
                ],
            }
        )
    head = structure.head
    return {
        "input": architecture.resolution,
        "stem": {"channels": space.channels(structure.stem), "size": fixed["size"]},
        "fixed": fixed,
        "stages": stages,
        "head": [space.channels(width) for width in (head.expand, head.mix) if width is not None],
    }
