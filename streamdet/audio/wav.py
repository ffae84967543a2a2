"""RIFF/WAVE constants shared by files and pipes."""

STREAMING_LENGTHS = frozenset({0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000})
"""Data lengths that programs write when they stream a WAV of unknown length."""
