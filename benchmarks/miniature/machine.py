"""What models are computed on, and how precisely."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """A device, and whether it multiplies bfloat16 natively; elsewhere everything is float32."""

    device: str
    bf16: bool = False

    @classmethod
    def find(cls, device: str = "auto") -> Machine:
        """The device of that name; ``auto`` is CUDA if there is any, else the CPU."""
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda"):
            return cls(device, torch.cuda.is_bf16_supported(including_emulation=False))
        able = torch.cpu.get_capabilities() if device == "cpu" else {}
        return cls(device, bool(able.get("avx512_bf16") or able.get("amx_bf16")))

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where it is native: matrices are multiplied in bfloat16, weights stay float32."""
        import torch

        kind = torch.device(self.device).type
        context: AbstractContextManager[Any] = torch.autocast(kind, torch.bfloat16, enabled=self.bf16)
        return context

    def __str__(self) -> str:
        return f"{self.device}, {'bfloat16 autocast' if self.bf16 else 'float32'}"
