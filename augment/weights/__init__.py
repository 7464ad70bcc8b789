"""Small generator weights that ship with the package; recipe and hash in docs/weights.md."""

from pathlib import Path

TINY = Path(__file__).with_name("dptn-tiny.safetensors")
