//! References of a page in Markdown, and its headings that others refer to.

use std::collections::BTreeMap;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The language that its fence names; empty without one.
    pub language: String,
    /// The code.
    pub text: String,
}

/// A page, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The anchors of its headings, in order.
    pub anchors: Vec<String>,
    /// Targets of its links and pictures.
    pub links: Vec<String>,
    /// Its code spans.
    pub code: Vec<String>,
    /// Its blocks of code.
    pub blocks: Vec<Block>,
    /// The rows of its tables, each with the source text of its cells.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// Takes a text apart.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let mut anchors = BTreeMap::<String, usize>::new();
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let before = anchors.entry(anchor.clone()).or_default();
                    page.anchors.push(match *before {
                        0 => anchor,
                        number => format!("{anchor}-{number}"),
                    });
                    *before += 1;
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some(Block { language, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::TableHead | Tag::TableRow) => page.rows.push(Vec::new()),
                Event::Start(Tag::TableCell) => {
                    if let Some(row) = page.rows.last_mut() {
                        row.push(text[range].trim_matches(['|', ' ']).to_owned());
                    }
                }
                Event::Text(part) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.text.push_str(&part),
                    (None, Some(heading)) => heading.push_str(&part),
                    (None, None) => {}
                },
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.code.push(code.into_string());
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# One `two_three`: and, four

[a](b.md#c) and ![d](e.svg), `code` but [no link].

    not `code`, nor [a](link)

```yaml
key: [value]
```

| `x` | 1 |
|---|--:|
| y | [z](w.md) |

## Same

## Same
";

    #[test]
    fn a_page_is_taken_apart() {
        let page = Page::parse(TEXT);
        assert_eq!(page.anchors, ["one-two_three-and-four", "same", "same-1"]);
        assert_eq!(page.links, ["b.md#c", "e.svg", "w.md"]);
        assert_eq!(page.code, ["two_three", "code", "x"]);
        let blocks: Vec<_> = page.blocks.iter().map(|block| block.language.as_str()).collect();
        assert_eq!(blocks, ["", "yaml"]);
        assert_eq!(page.blocks[1].text, "key: [value]\n");
        assert_eq!(page.rows, [["`x`", "1"], ["y", "[z](w.md)"]]);
    }
}
