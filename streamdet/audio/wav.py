"""The one thing of RIFF/WAVE that both a file and a pipe must know."""

STREAMING_LENGTHS = frozenset({0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000})
"""Data lengths that writers put where they can't know: whoever streams a WAV."""
