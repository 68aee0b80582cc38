"""Bytes read as choices: a fuzzer that changes bytes changes what is done. When they are used up all choices are 0."""

from __future__ import annotations

_EDGES = (0, 1, 2, 5, 255, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_EDITS_MAX = 4


class Script:
    """Reads one input, from its first byte to its last. True while there are bytes left."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def __bool__(self):
        return self._at < len(self._data)

    def take(self, size):
        """Give so many bytes, or those that are left."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self):
        return self.take(len(self._data))

    def below(self, end):
        """Give a number from 0 on; `end` is 256 at most."""
        return (self.take(1) or b"\0")[0] % end

    def pick(self, choices):
        return choices[self.below(len(choices))]

    def number(self):
        """Give a number of 64 bits, often one at which something changes."""
        choice = self.below(len(_EDGES) + 4)
        if choice < len(_EDGES):
            return _EDGES[choice]
        return int.from_bytes(self.take(1 << (choice - len(_EDGES))), "little")

    def edit(self, data):
        """Give the bytes with some of them changed, cut, doubled or put in."""
        edited = bytearray(data)
        for _ in range(1 + self.below(_EDITS_MAX)):
            at = int.from_bytes(self.take(2), "little") % (len(edited) + 1)
            how, size = self.below(5), self.below(16)
            if how == 0 and at < len(edited):
                edited[at] ^= 1 << (size % 8)
            elif how == 1 and at < len(edited):
                edited[at] = self.below(256)
            elif how == 2:
                edited[at:at] = self.take(size)
            elif how == 3:
                del edited[at : at + 1 + size]
            else:
                edited[at:at] = edited[at : at + 1 + size]
        return bytes(edited)
