//! Decodes the text of a file: UTF-8, or UTF-16 with a byte order mark.

use std::borrow::Cow;

/// Returns the text without its byte order mark.
///
/// # Errors
/// The octets are neither UTF-8 nor marked UTF-16; the message says where.
pub(super) fn decode(octets: &[u8]) -> Result<Cow<'_, str>, String> {
    match octets {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).map(Cow::Owned),
        _ => {
            let text = octets.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(octets);
            let text = std::str::from_utf8(text).map_err(|error| {
                let line = line_after(text.get(..error.valid_up_to()).unwrap_or_default());
                format!(
                    "line {line} is not UTF-8, expected UTF-8, or UTF-16 with a byte order mark"
                )
            })?;
            match text.split('\n').position(|line| line.contains('\0')) {
                None => Ok(Cow::Borrowed(text)),
                Some(line) => Err(format!(
                    "line {} has a zero octet, expected UTF-8, or UTF-16 with a byte order mark",
                    line + 1
                )),
            }
        }
    }
}

fn line_after(octets: &[u8]) -> usize {
    1 + octets.iter().filter(|octet| **octet == b'\n').count()
}

fn utf16(octets: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = octets.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("UTF-16 with an odd number of octets: the file has been cut".to_owned());
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map_err(|error| format!("{error} in UTF-16"))
        .and_then(|text| {
            if text.contains('\0') {
                Err("a zero character in UTF-16".to_owned())
            } else {
                Ok(text)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn text_is_read_with_and_without_a_mark() {
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}ä.example\r\n".encode_utf16().flat_map(unit).collect()
        };
        for octets in [
            "ä.example\r\n".as_bytes().to_vec(),
            "\u{feff}ä.example\r\n".as_bytes().to_vec(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(decode(&octets).as_deref(), Ok("ä.example\r\n"), "{octets:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        for (octets, words) in [
            (&b"a\nb\xff\n"[..], "line 2 is not UTF-8"),
            (b"a\0b\0", "line 1 has a zero octet"),
            (b"\xff\xfea\0b", "odd number"),
            (b"\xff\xfe\x00\xd8", "surrogate"),
        ] {
            let error = decode(octets).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
