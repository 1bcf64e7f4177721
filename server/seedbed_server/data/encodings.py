"""Which characters the bytes of a text file stand for."""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Generator
from dataclasses import dataclass
from itertools import chain

from seedbed_server.data.content import Content
from seedbed_server.data.frames import BadTable

_WINDOW_BYTES = 2**20
_SAMPLE_BYTES = 16_384
_HEAD_BYTES = 4096
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BINARY = (
    (b"PK\3\4", "a zip archive or an Office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
)
# The usual ones of each script; where nothing tells two apart, the first is the likelier.
_CANDIDATES = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "cp850", "mac_roman"),
)
_SYMBOLS = ("Sc", "So", "No", "Sm", "Sk", "Cf")
_UNPRINTABLE = ("Cc", "Cn", "Co")
_BESIDE_LETTERS = "®™°€"


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec, the mark at the beginning that names it, and whether it is only a guess."""

    codec: str = "utf-8"
    mark: bytes = b""
    guessed: bool = False

    @property
    def shown(self) -> str:
        """Its name for people, such as `windows-1252`."""
        return self.codec.replace("cp125", "windows-125").replace("_", "-")


@dataclass(frozen=True, slots=True)
class _Fault:
    """The first byte that is no UTF-8. `clean` says that there is other text before it, more than
    a window away, which is."""

    offset: int
    line: int
    byte: int
    clean: bool


def find_encoding(content: Content, *, guess: bool = True) -> Encoding:
    """UTF-8, what a mark or the zeros of wide characters speak of, or else, if `guess` allows it,
    what the bytes look like.

    Reads everything, unless it begins with a mark of another encoding. Raises BadTable for binary
    data, and for text that mixes encodings or is of none that is known.
    """
    head = content.head(_HEAD_BYTES)
    mark = b""
    for known, codec in _MARKS:
        if head.startswith(known):
            if codec != "utf-8":
                return Encoding(codec, known)
            mark = known
            break
    else:
        for magic, what in _BINARY:
            if head.startswith(magic):
                raise BadTable(f"holds no text: it begins like {what}")
        wide = _wide(head)
        if wide:
            return Encoding(wide, guessed=True)
    fault = _first_fault(content)
    if fault is None:
        return Encoding(mark=mark)
    where = f"byte 0x{fault.byte:02X} at offset {fault.offset} (line {fault.line})"
    if guess:
        lines = _lines_around(content, fault.offset)
        good = sum(_is_utf8(line) for line in lines)
        if mark or fault.clean or good * 10 >= len(lines):
            raise BadTable(
                f"is not UTF-8 throughout: {where} is not, and other lines are, so that it mixes "
                "encodings; write that line anew, and save all of it as UTF-8"
            )
        found = _guessed(b"\n".join(lines)[:_SAMPLE_BYTES])
        if found:
            return Encoding(found, guessed=True)
    raise BadTable(
        f"is not UTF-8: {where}; convert it to UTF-8, for example with "
        "iconv -f WINDOWS-1252 -t UTF-8"
    )


def utf8_pieces(content: Content, encoding: Encoding) -> Generator[bytes, None, None]:
    """The text as UTF-8 without a mark. Raises BadTable where it is not of the encoding; of UTF-8
    that is for `find_encoding` to say."""
    pieces = content.pieces()
    first = next(pieces, b"").removeprefix(encoding.mark)
    if encoding.codec == "utf-8":
        yield first
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    at = len(encoding.mark)
    for piece in chain((first,), pieces):
        yield _recoded(decoder, piece, at, encoding)
        at += len(piece)
    yield _recoded(decoder, b"", at, encoding, final=True)


def _recoded(
    decoder: codecs.IncrementalDecoder,
    piece: bytes,
    at: int,
    encoding: Encoding,
    *,
    final: bool = False,
) -> bytes:
    held = decoder.getstate()[0]
    try:
        return decoder.decode(piece, final).encode()
    except UnicodeError as error:
        offset = at - len(held) + getattr(error, "start", 0)
        how = "looks like" if encoding.guessed else "is marked as"
        name = encoding.shown if encoding.guessed else encoding.shown.upper()
        raise BadTable(f"{how} {name} and is not, at offset {offset}; save it as UTF-8") from error


class Utf8Stream(io.RawIOBase):
    """The text as a file of UTF-8 without a mark."""

    def __init__(self, content: Content, encoding: Encoding) -> None:
        super().__init__()
        self._pieces = utf8_pieces(content, encoding)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._pieces.close()
        super().close()


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: mostly Latin text has a zero in every other byte."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    pairs = len(head) // 2
    if pairs and odd * 10 >= pairs * 7 and even * 20 <= pairs:
        return "utf-16-le"
    if pairs and even * 10 >= pairs * 7 and odd * 20 <= pairs:
        return "utf-16-be"
    return ""


def _first_fault(content: Content) -> _Fault | None:
    """Raises BadTable where there is a NUL byte anywhere: such data is no text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    fault: _Fault | None = None
    at, line, last_wide = 0, 1, -1
    for piece in content.pieces():
        nul = piece.find(b"\0")
        if nul >= 0:
            line += piece.count(b"\n", 0, nul)
            raise BadTable(
                f"holds binary data: a NUL byte at offset {at + nul} (line {line}); save it as "
                "text in UTF-8"
            )
        held = decoder.getstate()[0]
        if fault is None and (held or not piece.isascii()):
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                fault = _fault(piece, held, error.start, at, line, last_wide >= 0)
            else:
                last_wide = at
        line += piece.count(b"\n")
        at += len(piece)
    held = decoder.getstate()[0]
    if fault is None and held:
        fault = _fault(held, b"", 0, at - len(held), line, last_wide >= 0)
    return fault


def _fault(piece: bytes, held: bytes, start: int, at: int, line: int, clean: bool) -> _Fault:
    offset = at - len(held) + start
    before = piece.count(b"\n", 0, max(0, start - len(held)))
    return _Fault(offset, line + before, (held + piece)[start], clean)


def _lines_around(content: Content, offset: int) -> list[bytes]:
    """The lines near a place that are not ASCII; a long one is cut off."""
    window = b""
    at = 0
    for piece in content.pieces():
        at += len(piece)
        if at > offset - _WINDOW_BYTES:
            window += piece
        if at > offset + _WINDOW_BYTES:
            break
    return [line for line in window.splitlines() if not line.isascii()]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guessed(sample: bytes) -> str:
    """The encoding that makes the most sense of lines; empty where none does.

    charset-normalizer knows languages; on a few words it ties, and there it counts whether symbols,
    other scripts or capitals turn up inside words.
    """
    from charset_normalizer import from_bytes

    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in sample):
        return ""
    known = from_bytes(sample, cp_isolation=list(_CANDIDATES), preemptive_behaviour=False)
    scores: dict[str, float] = {}
    for match in known:
        for each in (match, *match.submatch):
            scores[each.encoding] = each.chaos - 0.3 * each.coherence
    found: list[tuple[float, str]] = []
    for rank, codec in enumerate(_CANDIDATES):
        try:
            text = sample.decode(codec)
        except UnicodeDecodeError:
            continue
        wide = [char for char in text if not char.isascii()]
        unknown = 0.05 if any(char.isalpha() for char in wide) else 0.0
        score = scores.get(codec, unknown) + _oddness(text) + 0.01 * rank
        found.append((score, codec))
    best = min(found, default=(1.0, ""))
    return best[1] if best[0] < 0.5 else ""


def _oddness(text: str) -> float:
    """The share of characters beyond ASCII that are unlikely where they stand."""
    odd = count = 0
    for i, char in enumerate(text):
        if char.isascii():
            continue
        count += 1
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        kind = unicodedata.category(char)
        in_word = before.isalpha() or after.isalpha()
        if kind in _UNPRINTABLE:
            odd += 1
        elif kind in _SYMBOLS:
            odd += in_word and char not in _BESIDE_LETTERS
        elif char.isalpha() and before.isalpha():
            odd += _script(char) != _script(before) or (char.isupper() and before.islower())
    return odd / max(count, 1)


def _script(char: str) -> str:
    first = unicodedata.name(char, "?").split()[0]
    return "EASTERN" if first in ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else first
