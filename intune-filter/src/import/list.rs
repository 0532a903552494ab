//! Reads a plain list: one name, address or prefix per line.

use super::gather::{Entry, Gathered};

/// Reads the lines. Blank ones and those that begin with `#` are passed over, except for patterns
/// such as `#-courier.example`; a `#` after a blank begins a remark.
pub(super) fn read(text: &str, gathered: &mut Gathered) {
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let address = line
            .find(" #")
            .or_else(|| line.find("\t#"))
            .map_or(line, |at| line.get(..at).unwrap_or(line));
        let address = address.trim();
        if address.is_empty() || is_remark(address) {
            continue;
        }
        gathered.add(Entry { address, at: format!("line {}", index + 1), ..Entry::default() });
    }
}

/// Whether a text is a remark, not a pattern with a number for its first label's beginning.
pub(super) fn is_remark(text: &str) -> bool {
    text.starts_with('#') && !text.starts_with("#-")
}
