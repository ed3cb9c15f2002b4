//! The little CBOR that headers need, read and written by hand over slices.
//!
//! Owns item heads, text, and the skipping of items nobody asked for. Must never allocate, never recurse deeper
//! than it is told, and never trust a claimed length further than the bytes at hand.

/// What was wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// The two simple values that have a meaning here.
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;

/// The one byte that ends an item of indefinite length.
const BREAK: u8 = 0xff;

/// Which items [`Reader::skip`] lets pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// Definite lengths only: the rule in headers.
    Definite,
    /// Indefinite lengths too: bodies are written by any CBOR library.
    Any,
}

/// An item's major type and argument; no argument means indefinite length (or a break).
struct Head {
    major: u8,
    argument: Option<u64>,
}

/// Reads forward over a slice.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next item begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn uint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.expect(UINT, what)
    }

    /// The number of elements of an array of definite length. A claim, to be believed item by item.
    pub(crate) fn array(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.expect(ARRAY, what)
    }

    /// The number of entries of a map of definite length. A claim, to be believed entry by entry.
    pub(crate) fn map(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.expect(MAP, what)
    }

    /// A text string of definite length.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let len = self.expect(TEXT, what)?;
        let at = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| Malformed { at, what: "text that is not UTF-8" })
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, Malformed> {
        let value = match self.bytes.get(self.at) {
            Some(&FALSE) => false,
            Some(&TRUE) => true,
            _ => return Err(Malformed { at: self.at, what }),
        };
        self.at += 1;
        Ok(value)
    }

    /// Passes over one whole item, of whatever kind, with at most `depth` levels of nesting.
    pub(crate) fn skip(&mut self, depth: u32, lengths: Lengths) -> Result<(), Malformed> {
        let at = self.at;
        let head = self.head()?;
        let Some(argument) = head.argument else {
            return self.skip_indefinite(at, head.major, depth, lengths);
        };
        match head.major {
            BYTES | TEXT => self.take(argument).map(drop),
            ARRAY => self.skip_items(argument, inner(depth, at)?, lengths),
            MAP => {
                let depth = inner(depth, at)?;
                self.skip_items(argument, depth, lengths)?;
                self.skip_items(argument, depth, lengths)
            }
            TAG => self.skip(inner(depth, at)?, lengths),
            _ => Ok(()),
        }
    }

    fn skip_items(&mut self, count: u64, depth: u32, lengths: Lengths) -> Result<(), Malformed> {
        // Each item takes at least a byte, so a false claim ends with the bytes.
        for _ in 0..count {
            self.skip(depth, lengths)?;
        }
        Ok(())
    }

    fn skip_indefinite(
        &mut self,
        at: usize,
        major: u8,
        depth: u32,
        lengths: Lengths,
    ) -> Result<(), Malformed> {
        if lengths == Lengths::Definite {
            return Err(Malformed { at, what: "indefinite length in a header" });
        }
        let depth = inner(depth, at)?;
        match major {
            BYTES | TEXT => {
                while !self.at_break()? {
                    let at = self.at;
                    let chunk = self.head()?;
                    match chunk.argument {
                        Some(len) if chunk.major == major => self.take(len)?,
                        _ => {
                            return Err(Malformed { at, what: "a chunk of another kind than its string" });
                        }
                    };
                }
            }
            ARRAY => {
                while !self.at_break()? {
                    self.skip(depth, lengths)?;
                }
            }
            MAP => {
                while !self.at_break()? {
                    self.skip(depth, lengths)?;
                    self.skip(depth, lengths)?;
                }
            }
            _ => {
                return Err(Malformed { at, what: "a break outside an item of indefinite length" });
            }
        }
        Ok(())
    }

    /// Takes the break if it is next.
    fn at_break(&mut self) -> Result<bool, Malformed> {
        let is_break = *self.bytes.get(self.at).ok_or_else(|| self.truncated())? == BREAK;
        self.at += usize::from(is_break);
        Ok(is_break)
    }

    fn expect(&mut self, major: u8, what: &'static str) -> Result<u64, Malformed> {
        let at = self.at;
        match self.head()? {
            Head { major: found, argument: Some(argument) } if found == major => Ok(argument),
            _ => Err(Malformed { at, what }),
        }
    }

    #[inline]
    fn head(&mut self) -> Result<Head, Malformed> {
        let at = self.at;
        let first = *self.bytes.get(at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        let major = first >> 5;
        let argument = match first & 0x1f {
            small @ 0..=23 => Some(u64::from(small)),
            24 => Some(u64::from(self.be::<1>()?[0])),
            25 => Some(u64::from(u16::from_be_bytes(self.be()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.be()?))),
            27 => Some(u64::from_be_bytes(self.be()?)),
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP | SIMPLE) => None,
            _ => {
                return Err(Malformed { at, what: "a byte that begins no CBOR item" });
            }
        };
        if major == SIMPLE && first == 0xf8 && argument.is_some_and(|value| value < 32) {
            return Err(Malformed { at, what: "a simple value in a form that is not allowed" });
        }
        Ok(Head { major, argument })
    }

    #[inline]
    fn be<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes =
            self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(*bytes)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken =
            usize::try_from(len).ok().and_then(|len| rest.get(..len)).ok_or_else(|| self.truncated())?;
        self.at += taken.len();
        Ok(taken)
    }

    fn truncated(&self) -> Malformed {
        Malformed { at: self.bytes.len(), what: "ends inside an item" }
    }
}

fn inner(depth: u32, at: usize) -> Result<u32, Malformed> {
    depth.checked_sub(1).ok_or(Malformed { at, what: "nested too deeply" })
}

/// Appends an unsigned integer in its shortest form.
pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64) {
    put_head(out, UINT, value);
}

/// Appends true or false.
pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { TRUE } else { FALSE });
}

/// Appends the head of an array.
pub(crate) fn put_array(out: &mut Vec<u8>, len: usize) {
    put_head(out, ARRAY, len as u64);
}

/// Appends the head of a map.
pub(crate) fn put_map(out: &mut Vec<u8>, len: usize) {
    put_head(out, MAP, len as u64);
}

/// Appends a text string.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}
