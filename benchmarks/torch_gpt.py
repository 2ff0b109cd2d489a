"""GPT-2 in PyTorch alone, as small and as fast as PyTorch's own pieces make it: what train.py and characters.py are measured against.

Attention is PyTorch's fused one, the loss its cross entropy, wte the matrix at both ends. Weights start as Radford et al. 2019, section 2.3,
have it: N(0, 0.02), those that write into the stream divided by the root of their number, 2 * n_layer.
"""
import math

from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """One layer: x [batch, sequence, n_embd] -> the same."""

    def __init__(self, n_embd, n_head, bias):
        super().__init__()
        self.n_head = n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd, bias=bias), nn.LayerNorm(n_embd, bias=bias)
        self.c_attn, self.attn_c_proj = nn.Linear(n_embd, 3 * n_embd, bias=bias), nn.Linear(n_embd, n_embd, bias=bias)
        self.c_fc, self.mlp_c_proj = nn.Linear(n_embd, 4 * n_embd, bias=bias), nn.Linear(4 * n_embd, n_embd, bias=bias)

    def forward(self, x):
        batch, sequence, n_embd = x.shape
        q, k, v = (z.view(batch, sequence, self.n_head, -1).transpose(1, 2) for z in self.c_attn(self.ln_1(x)).split(n_embd, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)             # [batch, head, sequence, features]
        x = x + self.attn_c_proj(y.transpose(1, 2).reshape(batch, sequence, n_embd))
        return x + self.mlp_c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate='tanh'))


class GPT(nn.Module):
    """Token ids X [batch, sequence] and the next ones, labels, -> their mean loss."""

    def __init__(self, n_vocab, n_ctx, n_embd, n_head, n_layer, bias=True):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(n_vocab, n_embd), nn.Embedding(n_ctx, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head, bias) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd, bias=bias)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layer) if 'c_proj' in name else 0.02)
            elif name.endswith('bias'):
                nn.init.zeros_(p)

    def forward(self, X, labels):
        h = self.wte(X) + self.wpe.weight[:X.shape[1]]
        for block in self.h:
            h = block(h)
        logits = F.linear(self.ln_f(h), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), labels.reshape(-1))
