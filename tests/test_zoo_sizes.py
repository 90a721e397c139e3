"""The zoo at full size: as many parameters as are published, by torchvision, timm or the authors' repositories."""

from __future__ import annotations

import pytest

import confnet
from tests.zoo.harness import ZOO

PUBLISHED = {
    ("vgg", "vgg11"): 132_863_336,
    ("vgg", "vgg16"): 138_357_544,
    ("vgg", "vgg19_bn"): 143_678_248,
    ("squeezenet", "squeezenet1_0"): 1_248_424,
    ("squeezenet", "squeezenet1_1"): 1_235_496,
    ("resnet", "resnet-18"): 11_689_512,
    ("resnet", "resnet-50"): 25_557_032,
    ("resnet", "resnet-152"): 60_192_808,
    ("googlenet", None): 13_004_888,
    ("densenet", "densenet121"): 7_978_856,
    ("densenet", "densenet161"): 28_681_000,
    ("mobilenet_v2", "mobilenet_v2_1.0"): 3_504_872 + 1_281,  # with a class for the background
    ("convnext", "convnext-tiny"): 28_589_128,
    ("convnext", "convnext-base"): 88_591_464,
    ("regnet", "regnet-x-016"): 9_190_136,
    ("regnet", "regnet-x-080"): 39_572_648,
    ("regnet", "regnet-y-016"): 11_202_430,
    ("efficientnet", "b0"): 5_288_548,
    ("efficientnet", "b3"): 12_233_232,
    ("efficientnet", "b7"): 66_347_960,
    ("unet", "carvana"): 31_037_698,
    ("unet", "carvana_bilinear"): 17_263_042,
}


@pytest.mark.parametrize(("name", "variant"), PUBLISHED, ids=str)
def test_as_many_parameters_as_published(name: str, variant: str | None) -> None:
    model = confnet.build(ZOO / f"{name}.yaml", variant=variant, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name, variant]
