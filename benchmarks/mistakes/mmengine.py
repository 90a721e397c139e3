name = "SmallCNN"
channels = 8
classes = 10

model = dict(
    type="SmallCNN",
    conv1=dict(type="Conv2d", in_channels=3, out_channels=channels, kernel_size=3, padding=1),
    norm1=dict(type="BatchNorm2d", num_features=channels),
    act1=dict(type="ReLU"),
    pool1=dict(type="MaxPool2d", kernel_size=2),
    conv2=dict(type="Conv2d", in_channels=8, out_channels=16, kernel_size=3, padding=1),
    act2=dict(type="ReLU"),
    pool2=dict(type="AdaptiveAvgPool2d", output_size=1),
    flatten=dict(type="Flatten"),
    fc=dict(type="Linear", in_features=16, out_features=classes),
)
