"""Capabilities of the hardware, from which training and serving choose how to compute."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch


def has_bf16(device: torch.device) -> bool:
    """True if the device multiplies in bf16; a processor that would only emulate it is slower that way."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "bf16"} & _flags())


def has_amx() -> bool:
    """True if the processor multiplies tiles in bf16: Intel's from Sapphire Rapids on, as in an ml.c7i."""
    return "amx_bf16" in _flags()


@cache
def _flags() -> frozenset[str]:
    """The words of the processor's description, among them its flags: on Linux, of x86 and of ARM."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return frozenset()


def precision(device: torch.device) -> torch.dtype:
    """The narrowest precision in which the device multiplies faster than in fp32.

    That is bf16, or on GPUs before Ampere, as in an ml.g4dn, fp16.
    """
    if has_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def has_flash_attention(device: torch.device) -> bool:
    """True for GPUs from Ampere on (https://github.com/Dao-AILab/flash-attention/issues/762)."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
