"""Whole numbers in as few bytes as they need (LEB128), and reading them again with every limit checked."""

from __future__ import annotations

from hourglass.errors import FormatError


def varint(number: int) -> bytes:
    """A number >= 0, seven bits a byte, the lowest first; the top bit says that more follow."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def zigzag(number: int) -> int:
    """0, -1, 1, -2, 2, … as 0, 1, 2, 3, 4, …"""
    return 2 * number if number >= 0 else -2 * number - 1


class Reader:
    """Bytes read from the front. FormatError where they end too early or a number is too large."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = content, 0

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.position:
            raise FormatError(f"it ends after {len(self.content)} bytes; at least {self.position + size} are needed.")
        self.position += size
        return self.content[self.position - size : self.position]

    def rest(self) -> bytes:
        return self.take(len(self.content) - self.position)

    def varint(self, at_most: int = (1 << 53) - 1) -> int:
        number, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if number > at_most or shift > 63:
                raise FormatError(f"a number is larger than the {at_most} that is allowed there.")
            if byte < 0x80:
                return number

    def zigzag(self) -> int:
        number = self.varint()
        return number // 2 if number % 2 == 0 else -(number + 1) // 2
