"""Variable-length integers (LEB128), and a reader that checks all bounds."""

from __future__ import annotations

from hourglass.errors import FormatError


def varint(number: int) -> bytes:
    """Encode a number >= 0 with seven bits per byte, lowest first; the top bit marks that another byte follows."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def zigzag(number: int) -> int:
    """Map 0, -1, 1, -2, 2, … to 0, 1, 2, 3, 4, …"""
    return 2 * number if number >= 0 else -2 * number - 1


class Reader:
    """Reads bytes from the front. Raises FormatError if they end too early or a number is too large."""

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
                raise FormatError(f"a number is larger than the limit of {at_most}.")
            if byte < 0x80:
                return number

    def zigzag(self) -> int:
        number = self.varint()
        return number // 2 if number % 2 == 0 else -(number + 1) // 2
