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
