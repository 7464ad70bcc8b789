"""BNNeck: a normalisation between the features of the triplet loss and those of the classifier (Luo et al. 2019)."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

CLASSIFIER_DEVIATION = 0.001


@final
class BNNeck(nn.Module):
    """A backbone with a normalised classifier in the place of its own; in use it gives the normalised features.

    The normalisation has no shift and the classifier no bias, so that both losses share an origin. Both are new layers
    under ImageNet weights, and together they are the layer `classifier`.

    Raises:
        ValueError: the backbone has not exactly one linear layer as classifier.
    """

    def __init__(self, backbone: nn.Module, *, features: bool) -> None:
        super().__init__()
        own = backbone.get_submodule("classifier") if hasattr(backbone, "classifier") else None
        if not isinstance(own, nn.Linear):
            raise ValueError("neck bnneck: this model has no single classifier to put it before; choose another model")
        normalisation = nn.BatchNorm1d(own.in_features)
        normalisation.register_parameter("bias", None)
        linear = nn.Linear(own.in_features, own.out_features, bias=False)
        nn.init.normal_(linear.weight, std=CLASSIFIER_DEVIATION)
        backbone.classifier = nn.Identity()
        self.backbone = backbone
        self.classifier = nn.Sequential(normalisation, linear)
        self._gives_features = features

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Tensor | tuple[Tensor, Tensor]:
        """In training logits, or logits and the features before the normalisation; otherwise those after it."""
        output = self.backbone(images)
        features = output if isinstance(output, Tensor) else output[1]  # alone from one that does not learn
        if not self.training:
            return self.classifier[0](features)
        logits = self.classifier(features)
        return (logits, features) if self._gives_features else logits
