"""Batch norms folded into the convolutions before them: in eval mode both are one linear map."""

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network, pairs: tuple[tuple[str, str], ...]) -> Network:
    """A copy in eval mode in which every module's convolution takes over its batch norm.

    `pairs` names a convolution and its norm, as attributes of one module; where the norm is another one, both stay.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        for conv_name, norm_name in pairs:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm, isinstance(conv, nn.ConvTranspose2d)))
                setattr(module, norm_name, nn.Identity())
    return network
