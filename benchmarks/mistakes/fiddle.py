import fiddle as fdl
from torch import nn

from benchmarks.rivals import SmallCNN

name = "SmallCNN"
channels = 8
classes = 10


def config():
    return fdl.Config(
        SmallCNN,
        conv1=fdl.Config(nn.Conv2d, in_channels=3, out_channels=channels, kernel_size=3, padding=1),
        norm1=fdl.Config(nn.BatchNorm2d, num_features=channels),
        act1=fdl.Config(nn.ReLU),
        pool1=fdl.Config(nn.MaxPool2d, kernel_size=2),
        conv2=fdl.Config(nn.Conv2d, in_channels=8, out_channels=16, kernel_size=3, padding=1),
        act2=fdl.Config(nn.ReLU),
        pool2=fdl.Config(nn.AdaptiveAvgPool2d, output_size=1),
        flatten=fdl.Config(nn.Flatten),
        fc=fdl.Config(nn.Linear, in_features=16, out_features=classes),
    )
