"""The twins of the examples with `apply`: freezing, initialisation, parametrization, extra_repr."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["GPT", "Discriminator", "Expression", "FineTuned", "RNNModel", "Siren", "SmallResNet"]


class FineTuned(nn.Module):
    """A backbone of which only the last stage is trained."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            OrderedDict(
                stage1=nn.Conv2d(3, 8, 3, stride=2, padding=1),
                act1=nn.ReLU(),
                stage2=nn.Conv2d(8, 16, 3, stride=2, padding=1),
                act2=nn.ReLU(),
                stage3=nn.Conv2d(16, 16, 3, stride=2, padding=1),
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, num_classes)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad = name.startswith("stage3.")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.flatten(self.pool(self.backbone(x)), 1))
        return out


class RNNModel(nn.Module):
    """word_language_model's LSTM with tied weights and without dropout."""

    def __init__(self, ntoken: int = 100, ninp: int = 16, nlayers: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, ninp, nlayers)
        self.decoder = nn.Linear(ninp, ntoken)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        output, _ = self.rnn(self.encoder(tokens))
        return functional.log_softmax(self.decoder(output), dim=-1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + x)


class SmallResNet(nn.Module):
    """The loops over `modules()` are torchvision's."""

    def __init__(self, width: int = 8, blocks: int = 2, num_classes: int = 10, zero_init_residual: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))
        self.fc = nn.Linear(width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
        if zero_init_residual:
            for m in self.modules():
                if isinstance(m, BasicBlock):
                    nn.init.constant_(m.bn2.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(functional.relu(self.bn1(self.conv1(x))))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class CausalSelfAttention(nn.Module):
    """nanoGPT's attention without dropout."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = (p.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for p in self.c_attn(x).split(c, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return out


class MLP(nn.Sequential):
    """nanoGPT's MLP without dropout."""

    def __init__(self, n_embd: int) -> None:
        super().__init__(
            OrderedDict(c_fc=nn.Linear(n_embd, 4 * n_embd), gelu=nn.GELU(), c_proj=nn.Linear(4 * n_embd, n_embd))
        )


class Block(nn.Module):
    """Attention and MLP, each after a norm and beside a residual connection."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = MLP(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class GPT(nn.Module):
    """A GPT whose constructor ends as nanoGPT's does."""

    def __init__(
        self, vocab_size: int = 65, n_embd: int = 32, n_layer: int = 3, n_head: int = 4, block_size: int = 16
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                torch.nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * n_layer))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def forward(self, idx: Tensor) -> Tensor:
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        for block in self.h:
            x = block(x)
        out: Tensor = self.lm_head(self.ln_f(x))
        return out


class Discriminator(nn.Sequential):
    """A DCGAN discriminator with spectral norm, added by `apply`."""

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(2 * width * 16, 1),
        )
        self.apply(self._normalise)

    @staticmethod
    def _normalise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)


class SineLayer(nn.Module):
    """The authors' layer, with their initialisation."""

    def __init__(self, in_features: int, out_features: int, is_first: bool = False, omega_0: float = 30.0) -> None:
        super().__init__()
        self.omega_0 = omega_0
        self.linear = nn.Linear(in_features, out_features)
        with torch.no_grad():
            if is_first:
                self.linear.weight.uniform_(-1 / in_features, 1 / in_features)
            else:
                bound = math.sqrt(6 / in_features) / omega_0
                self.linear.weight.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega_0 * self.linear(x))


class Siren(nn.Module):
    """Sine layers and a linear one."""

    def __init__(self, hidden: int = 32, layers: int = 2, omega_0: float = 30.0) -> None:
        super().__init__()
        net: list[nn.Module] = [SineLayer(2, hidden, is_first=True, omega_0=omega_0)]
        net += [SineLayer(hidden, hidden, omega_0=omega_0) for _ in range(layers)]
        final = nn.Linear(hidden, 1)
        with torch.no_grad():
            bound = math.sqrt(6 / hidden) / omega_0
            final.weight.uniform_(-bound, bound)
        self.net = nn.Sequential(*net, final)

    def forward(self, coords: Tensor) -> Tensor:
        out: Tensor = self.net(coords)
        return out


class SineFunction(nn.Module):
    """The sine."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class SquareFunction(nn.Module):
    """The square."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2


class Function_Affine(nn.Module):
    """Prints its own constants."""

    def __init__(self, slope: float = 2.0, offset: float = 0.0) -> None:
        super().__init__()
        self.slope, self.offset = slope, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.offset

    def extra_repr(self) -> str:
        return f"slope={self.slope}, offset={self.offset}"


class Expression(nn.Sequential):
    """The exercise as it is usually solved."""

    def __init__(self, source: str = "calculus") -> None:
        super().__init__(
            nn.Linear(4, 4), SineFunction(), nn.Sequential(SquareFunction(), Function_Affine(3.0)), nn.Tanh()
        )

        def add_repr(module: nn.Module) -> None:
            if "Function" in type(module).__name__ and not isinstance(module, Function_Affine):
                module.extra_repr = lambda: f"from={source}"  # type: ignore[method-assign]

        self.apply(add_repr)
