"""The encoder over packed tokens: all sequences of a batch end to end, and no padding anywhere.

`PackedEncoder` stands where a BertModel stood in a classifier that only answers: queries, keys and values
in one product, activations and residuals inside the products that precede them, weights in bf16 or fp16 where
the hardware multiplies in it and, on a CPU, once in the order in which oneDNN reads them. It is read from a
safetensors file a layer at a time, so that the weights never lie in memory twice. `through` runs layers that
learn over packed tokens too. CPU and GPU differ in the attention's kernel only; the GPU's is written by its
documentation and has not been run.
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from model.serving import upstream
from model.serving.bert import BertSettings, Hidden
from model.serving.hardware import has_amx, has_flash_attention

# Activations that oneDNN computes inside a product: its name and variant for an activation's name in a
# configuration.
FUSED = {"gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", "")}
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {  # the same by themselves
    "gelu": nn.functional.gelu,
    "gelu_new": partial(nn.functional.gelu, approximate="tanh"),
    "relu": nn.functional.relu,
}
# Scores of one softmax on a CPU, in bytes: they stay in a core's cache between the two products.
SCORE_BYTES = 2 << 20
Read = Callable[[str], Tensor]


@dataclass(frozen=True)
class Packing:
    """The places of a padded batch's tokens among the packed ones."""

    mask: Tensor  # (batch, tokens), true where there is a token
    lengths: list[int]
    starts: Tensor  # (batch + 1), int32: where each sequence begins, and where the last ends

    @classmethod
    def of(cls, mask: Tensor) -> Packing:
        """The packing of a mask (batch, tokens), whose ones come first in each row."""
        present = mask != 0
        lengths = present.sum(dim=1)
        starts = nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        return cls(present, lengths.tolist(), starts)

    def pack(self, padded: Tensor) -> Tensor:
        """Rows (packed, …) of padded values (batch, tokens, …)."""
        return padded[self.mask]

    def unpack(self, packed: Tensor) -> Tensor:
        """Unpack (packed, …) into a padded array (batch, tokens, …), zero where nothing is."""
        padded = packed.new_zeros(*self.mask.shape, *packed.shape[1:])
        return padded.index_put((self.mask,), packed)


def attend(query_key_value: Tensor, packing: Packing) -> Tensor:
    """Attention within each sequence: (packed, 3, heads, size) to (packed, heads * size).

    The queries are already divided by the root of `size`.
    """
    if query_key_value.device.type == "cuda":
        return _attend_on_gpu(query_key_value, packing)
    parts = torch.split(query_key_value, packing.lengths)
    if query_key_value.requires_grad or (query_key_value.dtype == torch.bfloat16 and has_amx()):
        return torch.cat([_attend_fused(part) for part in parts])
    attended = torch.empty_like(query_key_value[:, 0])
    for part, place in zip(parts, torch.split(attended, packing.lengths), strict=True):
        _attend_on_cpu(part, place)
    return attended.flatten(1)


def _attend_on_cpu(part: Tensor, place: Tensor) -> None:
    """One sequence's attention (tokens, 3, heads, size) into `place` (tokens, heads, size).

    Two plain products around a softmax: in bf16 torch's fused attention takes three times as long on Zen 5,
    where these products are oneDNN's. With AMX, on Sapphire Rapids, it takes two thirds of their time.
    """
    query, key, value = part.permute(1, 2, 0, 3).contiguous()  # (heads, tokens, size) each
    tokens, heads = len(part), part.shape[2]
    rows = max(16, SCORE_BYTES // (tokens * part.element_size()))  # queries of all heads that fit
    together = max(1, min(heads, rows // tokens))
    step = min(tokens, rows)
    for head in range(0, heads, together):
        chosen = slice(head, head + together)
        keys, values = key[chosen].transpose(1, 2), value[chosen]
        for start in range(0, tokens, step):
            scores = torch.bmm(query[chosen, start : start + step], keys)
            torch.softmax(scores, -1, out=scores)
            place[start : start + step, chosen] = torch.bmm(scores, values).transpose(0, 1)


def _attend_fused(part: Tensor) -> Tensor:
    """One sequence's attention (tokens, 3, heads, size) to (tokens, heads * size), with gradients."""
    query, key, value = part.permute(1, 2, 0, 3)[:, None]  # (1, heads, tokens, size) each
    attended = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    return attended[0].transpose(0, 1).flatten(1)


@cache
def _varlen_attention() -> Any:
    """Import flash attention over packed sequences, and with it torch's compiler; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _attend_on_gpu(query_key_value: Tensor, packing: Packing) -> Tensor:
    """Flash attention over packed sequences, or where it is missing fused attention over padded ones."""
    longest = max(packing.lengths)
    narrow = query_key_value.dtype in (torch.bfloat16, torch.float16)
    flash = narrow and has_flash_attention(query_key_value.device)
    varlen_attention = _varlen_attention() if flash else None
    if varlen_attention is not None:
        query, key, value = query_key_value.unbind(1)
        starts = packing.starts
        attended = varlen_attention(query, key, value, starts, starts, longest, longest, scale=1.0)
        assert isinstance(attended, Tensor)  # alone, as nothing else was asked for
        return attended.flatten(1)
    query, key, value = packing.unpack(query_key_value).permute(2, 0, 3, 1, 4)
    seen = packing.mask[:, None, None, :]
    attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=1.0)
    return packing.pack(attended.transpose(1, 2)).flatten(1)


def through(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> Tensor:
    """Hidden states (batch, tokens, hidden) after some layers of a BertModel, zero where masked.

    The layers' own modules are called, so autocast, gradients and adapters work as in the layer itself.
    """
    packing = Packing.of(mask)
    packed = packing.pack(hidden)
    for layer in layers:
        packed = _through_one(layer, packed, packing)
    return packing.unpack(packed)


def _through_one(layer: Any, hidden: Tensor, packing: Packing) -> Tensor:
    """One BertLayer over packed hidden states (packed, hidden)."""
    own, after = layer.attention.self, layer.attention.output
    heads, size = own.num_attention_heads, own.attention_head_size
    query, key, value = own.query(hidden) / math.sqrt(size), own.key(hidden), own.value(hidden)
    attended = attend(torch.stack([query, key, value], dim=1).view(-1, 3, heads, size), packing)
    hidden = after(attended, hidden)
    result: Tensor = layer.output(layer.intermediate(hidden), hidden)
    return result


def onednn() -> bool:
    """True if weights are put in oneDNN's own order, which is proven on x86 only."""
    return bool(torch.backends.mkldnn.is_available()) and platform.machine() in ("x86_64", "AMD64")  # type: ignore[no-untyped-call]


class Product(nn.Module):
    """A linear layer that does not learn, with its activation or the sum with a residual in it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, activation: str | None = None) -> None:
        super().__init__()
        self.activation = activation
        self.activate = (
            None if activation is None else PLAIN.get(activation) or upstream.activation(activation)
        )
        self.prepacked = weight.device.type == "cpu" and onednn()
        if self.prepacked:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, values: Tensor, residual: Tensor | None = None) -> Tensor:
        """(packed, inputs) to (packed, outputs), plus a residual of that shape if there is one."""
        if not self.prepacked:
            product: Tensor = nn.functional.linear(values, self.weight, self.bias)
            if self.activate is not None:
                product = self.activate(product)
            return product if residual is None else product + residual
        pointwise = torch.ops.mkldnn._linear_pointwise
        name, variant = FUSED.get(self.activation or "", ("none", ""))
        product = pointwise(values, self.weight, self.bias, name, [], variant)
        if self.activate is not None and self.activation not in FUSED:
            product = self.activate(product)
        # In place is faster than inside oneDNN's product, which then reads the residual in small pieces.
        result: Tensor = product if residual is None else product.add_(residual)
        return result


class PackedLayer(nn.Module):
    """One layer of a BERT, fused; `read` gives its weights by BertLayer's names, in any precision."""

    def __init__(self, config: BertSettings, read: Read, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.heads, self.size = config.num_attention_heads, config.hidden_size // config.num_attention_heads

        def product(name: str, activation: str | None = None) -> Product:
            weight, bias = (
                read(f"{name}.{part}").to(device, dtype, copy=True) for part in ("weight", "bias")
            )
            return Product(weight, bias, activation)

        def together(part: str) -> Tensor:
            query, key, value = (
                read(f"attention.self.{name}.{part}").float() for name in ("query", "key", "value")
            )
            return torch.cat([query / math.sqrt(self.size), key, value]).to(device, dtype)

        self.query_key_value = Product(together("weight"), together("bias"))
        self.attended = product("attention.output.dense")
        self.first_norm = norm(config, "attention.output.LayerNorm", read, dtype, device)
        self.widened = product("intermediate.dense", config.hidden_act)
        self.narrowed = product("output.dense")
        self.second_norm = norm(config, "output.LayerNorm", read, dtype, device)

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        """(packed, hidden) to (packed, hidden)."""
        parts = self.query_key_value(hidden).view(-1, 3, self.heads, self.size)
        hidden = self.first_norm(self.attended(attend(parts, packing), hidden))
        result: Tensor = self.second_norm(self.narrowed(self.widened(hidden), hidden))
        return result


def norm(
    config: BertSettings, name: str, read: Read, dtype: torch.dtype, device: torch.device
) -> nn.LayerNorm:
    """A layer norm that does not learn."""
    layer = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, device="meta", dtype=dtype)
    layer.weight = nn.Parameter(read(f"{name}.weight").to(device, dtype, copy=True), requires_grad=False)
    layer.bias = nn.Parameter(read(f"{name}.bias").to(device, dtype, copy=True), requires_grad=False)
    return layer


class PackedEncoder(nn.Module):
    """A BERT that only answers, called as a BertModel is."""

    words: Tensor  # (vocabulary, hidden)
    positions: Tensor  # (max_tokens, hidden), with the vector that BERT adds for a first sentence

    def __init__(
        self, config: BertSettings, read: Read, *, max_tokens: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`read` gives weights by BertModel's names; positions beyond `max_tokens` are left out."""
        super().__init__()
        self.config = config
        words = read("embeddings.word_embeddings.weight")
        positions = read("embeddings.position_embeddings.weight")[:max_tokens].float()
        positions = positions + read("embeddings.token_type_embeddings.weight")[0].float()
        self.register_buffer("words", words.to(device, dtype, copy=True), persistent=False)
        self.register_buffer("positions", positions.to(device, dtype, copy=True), persistent=False)
        self.norm = norm(config, "embeddings.LayerNorm", read, dtype, device)
        self.layers = nn.ModuleList()
        for index in range(config.num_hidden_layers):
            below = partial(_read_below, read, f"encoder.layer.{index}.")
            self.layers.append(PackedLayer(config, below, dtype, device))
            return_memory()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Hidden:
        """Hidden states (batch, tokens, hidden), zero where masked, of ids (batch, tokens).

        The mask is one that a BertModel takes: its last dimension tokens, its first batch.
        """
        packing = Packing.of(attention_mask.reshape(input_ids.shape))
        places = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        # Values in bf16 are so on purpose, and autocast would take some of them back to fp32.
        with torch.autocast(input_ids.device.type, enabled=False):
            hidden = self.words[packing.pack(input_ids)] + self.positions[packing.pack(places)]
            hidden = self.norm(hidden)
            for layer in self.layers:
                hidden = layer(hidden, packing)
        return Hidden(packing.unpack(hidden))


def return_memory() -> None:
    """Hand freed memory back to the system: glibc keeps the gaps that loading leaves, 0.25 GB of ProtBERT."""
    with suppress(OSError, AttributeError, TypeError):  # another system's library has no such function
        ctypes.CDLL(None).malloc_trim(0)


def _read_below(read: Read, prefix: str, name: str) -> Tensor:
    return read(prefix + name)


def reader(path: Path, prefix: str) -> Read:
    """Reads one tensor of a safetensors file at a time, by its name without `prefix`."""

    return partial(_read_tensor, path, prefix)


def _read_tensor(path: Path, prefix: str, name: str) -> Tensor:
    # Opened anew each time: the tensors read before then leave this process's memory.
    with safe_open(path, framework="pt") as file:
        value: Tensor = file.get_tensor(prefix + name)
    return value
