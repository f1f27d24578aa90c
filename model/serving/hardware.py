"""Capabilities of the hardware, from which training and serving choose how to compute."""

from __future__ import annotations

from pathlib import Path

import torch


def has_bf16(device: torch.device) -> bool:
    """True if the device multiplies in bf16; a processor that would only emulate it is slower that way."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:  # Linux, where the flags of x86 and of ARM stand
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "bf16" in flags


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
