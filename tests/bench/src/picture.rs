//! Draws charts: horizontal bars with their figures, as SVG that suits light and dark pages.

use svg::{
    Document,
    node::element::{Rectangle, Style, Text},
};

use super::{Chart, text::text};

/// Everything is measured in pixels of a picture that is shown as large as it was drawn.
const WIDTH: usize = 800;
const MARGIN: usize = 20;
const BAR: usize = 16;
/// From one bar to the next of the same thing.
const STEP: usize = BAR + 3;
/// Between things.
const GAP: usize = 12;
const LINE: usize = 24;
/// Room for a figure behind its bar.
const FIGURE: usize = 90;
/// The longest name that stands beside its bars rather than above them.
const BESIDE: usize = 40;
/// Approximate width of a letter: the font is the reader's.
const LETTER: usize = 7;

/// The variants' colours, which stand out from either ground.
const COLOURS: [&str; 6] = ["#3b82c4", "#e08a2b", "#4fa06a", "#9b6fc4", "#c4574f", "#8a8f98"];

/// The ground is drawn too: what shows the picture may be dark where its reader's system is light.
const STYLE: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.ground { fill: #ffffff; stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ground { fill: #0d1117; stroke: #3d444d }
}
";

/// The chart as the text of an SVG file.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let drawing = Drawing::new(chart);
    let ground = Rectangle::new()
        .set("class", "ground")
        .set("x", 0.5)
        .set("y", 0.5)
        .set("width", WIDTH - 1)
        .set("height", drawing.height - 1)
        .set("rx", 6);
    let title = label(&chart.title, MARGIN, MARGIN + BAR).set("class", "title");
    let document = Document::new()
        .set("viewBox", (0, 0, WIDTH, drawing.height))
        .set("width", WIDTH)
        .set("height", drawing.height)
        .set("role", "img")
        .add(Style::new(STYLE))
        .add(ground)
        .add(title);
    let document = drawing.rectangles.into_iter().fold(document, Document::add);
    let document = drawing.labels.into_iter().fold(document, Document::add);
    format!("{document}\n")
}

fn label(text: &str, x: usize, y: usize) -> Text {
    Text::new(text).set("x", x).set("y", y)
}

/// Shapes of a picture, from above to below.
struct Drawing {
    rectangles: Vec<Rectangle>,
    labels: Vec<Text>,
    height: usize,
}

impl Drawing {
    fn new(chart: &Chart) -> Self {
        let mut drawing =
            Self { rectangles: Vec::new(), labels: Vec::new(), height: MARGIN + LINE + GAP };
        if chart.variants.len() > 1 {
            drawing.legend(&chart.variants);
        }
        let longest = chart.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let beside = longest <= BESIDE;
        let start = MARGIN + if beside { longest * LETTER + GAP } else { 0 };
        let figures = || chart.rows.iter().flat_map(|(_, figures)| figures.iter().flatten());
        let greatest = figures().copied().fold(0.0, f64::max);
        let room = (WIDTH - MARGIN - FIGURE - start) as f64;
        for (name, figures) in &chart.rows {
            let name = if beside {
                // In the middle of its bars.
                let above = figures.len().saturating_sub(1) * STEP / 2;
                label(name, start - GAP, drawing.height + above + BAR - 4).set("text-anchor", "end")
            } else {
                drawing.height += LINE;
                label(name, start, drawing.height - BAR / 2)
            };
            drawing.labels.push(name);
            for (figure, colour) in figures.iter().zip(COLOURS.iter().cycle()) {
                if let Some(figure) = figure {
                    let share = if greatest > 0.0 { figure.max(0.0) / greatest } else { 0.0 };
                    // Nothing at all is seen too.
                    let width = (share * room).round().max(1.0) as usize;
                    drawing.bar(start, width, colour);
                    let words = text(chart.unit, *figure);
                    drawing.labels.push(label(&words, start + width + 6, drawing.height + BAR - 4));
                }
                drawing.height += STEP;
            }
            drawing.height += GAP;
        }
        drawing.height += MARGIN - GAP;
        drawing
    }

    fn bar(&mut self, x: usize, width: usize, colour: &str) {
        let bar = Rectangle::new().set("x", x).set("y", self.height);
        self.rectangles.push(bar.set("width", width).set("height", BAR).set("fill", colour));
    }

    fn legend(&mut self, variants: &[String]) {
        let mut x = MARGIN;
        for (variant, colour) in variants.iter().zip(COLOURS.iter().cycle()) {
            let width = BAR + 6 + variant.chars().count() * LETTER + LINE;
            if x > MARGIN && x + width > WIDTH {
                x = MARGIN;
                self.height += LINE;
            }
            self.bar(x, BAR, colour);
            self.labels.push(label(variant, x + BAR + 6, self.height + BAR - 4));
            x += width;
        }
        self.height += LINE + GAP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    fn chart(name: &str, variants: &[&str], figures: &[Option<f64>]) -> String {
        svg(&Chart {
            title: "Beads & more".into(),
            unit: Unit::Count,
            variants: variants.iter().map(|name| (*name).to_owned()).collect(),
            rows: vec![(name.into(), figures.to_vec())],
        })
    }

    fn widths(svg: &str) -> Vec<u32> {
        let bars = svg.lines().filter(|line| line.contains("<rect") && line.contains("fill="));
        let width = bars.map(|bar| bar.split("width=\"").nth(1)?.split('"').next()?.parse().ok());
        width.map(Option::unwrap).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_figures_say() {
        let svg = chart("counted", &["", "", ""], &[Some(30.0), Some(60.0), Some(0.0)]);
        let [.., half, whole, nothing] = widths(&svg)[..] else { panic!("{svg}") };
        assert!(whole.abs_diff(2 * half) <= 1 && nothing == 1, "{svg}");
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        let svg = chart("counted", &[""], &[None, Some(60.0)]);
        assert_eq!(widths(&svg).len(), 1, "{svg}");
    }

    #[test]
    fn every_word_is_there_and_means_nothing_to_xml() {
        let long = "a name <of> which there is far too much to stand beside its bars";
        let svg = chart(long, &["<red>", "blue"], &[Some(1.0), Some(2.0)]);
        for word in ["Beads &amp; more", "&lt;red&gt;", "a name &lt;of&gt;", "\nblue\n"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
    }
}
