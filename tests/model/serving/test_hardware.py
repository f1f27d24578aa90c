"""The precision and the attention that serving chooses are those of the device."""

from __future__ import annotations

import pytest
import torch

from model.serving import hardware
from model.serving.hardware import has_amx, has_bf16, has_flash_attention, precision

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "expected", "flash"),
    [((7, 5), torch.float16, False), ((8, 6), torch.bfloat16, True), ((9, 0), torch.bfloat16, True)],
    ids=["T4", "A10G", "H100"],
)
def test_a_gpu_answers_in_the_narrowest_numbers_that_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: torch.dtype, flash: bool
) -> None:
    """As torch tells them: bf16 from compute capability 8.0 on, unless it is emulated."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
    assert precision(GPU) == expected
    assert has_flash_attention(GPU) is flash


@pytest.mark.parametrize(
    ("flags", "bf16", "amx"),
    [
        ("fpu avx2 avx512f", False, False),
        ("fpu avx512f avx512_bf16", True, False),
        ("avx512_bf16 amx_bf16 amx_tile amx_int8", True, True),
        ("fp asimd i8mm bf16", True, False),
    ],
    ids=["Skylake", "Zen 5", "Sapphire Rapids", "Graviton 3"],
)
def test_a_processor_is_known_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, flags: str, bf16: bool, amx: bool
) -> None:
    monkeypatch.setattr(hardware, "_flags", lambda: frozenset(flags.split()))
    assert (has_bf16(CPU), has_amx()) == (bf16, amx)


def test_a_processor_never_answers_in_fp16() -> None:
    assert precision(CPU) in (torch.bfloat16, torch.float32)
    assert not has_flash_attention(CPU)
