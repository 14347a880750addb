"""THANet: one token per part of a label, which attend to each other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_HEADS = 8
TOKEN_SIZE = 64


def merge_heads(values: Tensor) -> Tensor:
    """(B, heads, L, d) to (B, L, heads * d): what all heads say of a token stands together."""
    return values.transpose(1, 2).flatten(2)


class TokenAttention(nn.Module):
    """Scaled dot-product self-attention of several heads, with an output projection.

    As ``torch.nn.MultiheadAttention``, but that keys have no bias: it would add the same to
    all scores of a query, which the softmax takes away again.

    Source: Vaswani et al., 2017.
    """

    def __init__(self, size: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size)
        self.project = nn.Linear(size, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, size) of tokens."""
        query, key, value = (
            layer(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        # Scores are divided by the root of a head's own size.
        attended = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(merge_heads(attended))
        return projected


class THANetHead(nn.Module):
    """A token per part, attention between them, a layer per part, and a layer over all parts.

    Features pass a batch norm and dropout; a linear layer per part makes its token. What the
    attention gives is added to the tokens and normalised. A linear layer makes the logits of
    each part of its token; ReLU and a linear layer make the logits of the classes of all.

    Source: MultiClassTHANet and MultiLabelTHANet of iloveslowfood/ImageClassfication; there
    heads are merged without being transposed back, nothing is projected, and the scale is that
    of one head.
    """

    def __init__(
        self,
        num_features: int,
        *,
        sizes: Sequence[int],
        num_classes: int,
        auxiliary: bool = False,
        drop_rate: float = 0.5,
    ) -> None:
        """Make the layers.

        Args:
            num_features: D.
            sizes: Values of each part, P.
            num_classes: K; 0: no layer over all parts (MultiLabelTHANet).
            auxiliary: Give out the parts' logits beside those of the classes, to learn from.
            drop_rate: Dropout of the features.
        """
        super().__init__()
        self.gives_parts = auxiliary or not num_classes
        self.prepare = nn.Sequential(nn.BatchNorm1d(num_features), nn.Dropout(drop_rate))
        self.tokens = nn.ModuleList(nn.Linear(num_features, TOKEN_SIZE) for _ in sizes)
        self.attention = TokenAttention(TOKEN_SIZE, num_heads=NUM_HEADS)
        self.norm = nn.LayerNorm(TOKEN_SIZE)
        self.parts = nn.ModuleList(nn.Linear(TOKEN_SIZE, size) for size in sizes)
        self.fuse = nn.Linear(sum(sizes), num_classes) if num_classes else None

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the classes, of the parts, or of both in this order, of features (B, D)."""
        prepared = self.prepare(features)
        tokens = torch.stack([layer(prepared) for layer in self.tokens], dim=1)  # (B, P, 64)
        tokens = self.norm(tokens + self.attention(tokens))
        pairs = zip(self.parts, tokens.unbind(dim=1), strict=True)
        parts = torch.cat([layer(token) for layer, token in pairs], dim=1)
        if self.fuse is None:
            return parts
        classes: Tensor = self.fuse(F.relu(parts))
        return torch.cat([classes, parts], dim=1) if self.gives_parts else classes
