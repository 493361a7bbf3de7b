//! Pure. Lines of a screen: made of words with a tone, cut to the width, and shared out over the height.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::tone::{Palette, Tone};

/// A line before it is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<(String, Tone)>);

/// Lines that belong together. Its units are shown as far as there is room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// Always shown.
    pub(crate) head: Vec<Row>,
    /// Shown from the first on.
    pub(crate) units: Vec<Vec<Row>>,
    /// Of the units that are not shown: what they are.
    pub(crate) more: &'static str,
    /// Shown below the units, always.
    pub(crate) foot: Vec<Row>,
    /// Where a window has no room for all sections, the one with the highest number goes first; none with 0.
    pub(crate) spare: u8,
}

// === impl Row ===

impl Row {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![(text.into(), tone)])
    }

    #[must_use]
    pub(crate) fn and(mut self, text: impl Into<String>, tone: Tone) -> Self {
        self.0.push((text.into(), tone));
        self
    }

    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| width(text)).sum()
    }

    /// As wide as it may be; what is cut off ends with an ellipsis.
    fn line(self, wide: usize, palette: Palette) -> Line<'static> {
        let mut spans = Vec::with_capacity(self.0.len());
        let (whole, mut room) = (self.width() <= wide, wide);
        for (text, tone) in self.0 {
            if room == 0 {
                break;
            }
            // The last cell is for the ellipsis, unless everything fits.
            let last = !whole && width(&text) >= room;
            let text = if last { cut(&(text + " "), room) } else { text };
            if last {
                spans.push(Span::styled(text, tone.style(palette)));
                break;
            }
            room = room.saturating_sub(width(&text));
            spans.push(Span::styled(text, tone.style(palette)));
        }
        Line::from(spans)
    }
}

// === impl Section ===

impl Section {
    /// Lines it has with so many units.
    fn height(&self, units: usize) -> usize {
        let shown: usize = self.units.iter().take(units).map(Vec::len).sum();
        let more = usize::from(units < self.units.len());
        self.head.len() + shown + more + self.foot.len()
    }

    fn rows(self, units: usize) -> Vec<Row> {
        let hidden = self.units.len().saturating_sub(units);
        let mut rows = self.head;
        rows.extend(self.units.into_iter().take(units).flatten());
        if hidden > 0 {
            let and = if units > 0 { format!("and {hidden} more") } else { hidden.to_string() };
            rows.push(Row::new(format!("  {and} {}", self.more), Tone::Dim));
        }
        rows.extend(self.foot);
        rows
    }
}

/// How wide a text is on a terminal.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// At most so wide, whole characters as people see them; ends with an ellipsis when something is cut off.
pub(crate) fn cut(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut room = wide.saturating_sub(1);
    for grapheme in Span::raw(text).styled_graphemes(Style::new()) {
        let taken = width(grapheme.symbol);
        if taken > room {
            break;
        }
        room -= taken;
        kept.push_str(grapheme.symbol);
    }
    if wide > 0 {
        kept.push('…');
    }
    kept
}

/// As many lines of at most this width as it takes, up to `most`; the last ends with an ellipsis when that is not all.
pub(crate) fn wrap(text: &str, wide: usize, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while lines.len() + 1 < most && width(rest) > wide {
        // At the last blank before which everything fits; a word that is wider than a line is left to be cut.
        let blanks = rest.match_indices(' ').map(|(at, _)| at);
        let fits = blanks.take_while(|at| width(&rest[..*at]) <= wide);
        let Some(at) = fits.last().filter(|at| *at > 0) else { break };
        lines.push(rest[..at].to_owned());
        rest = &rest[at + 1..];
    }
    lines.push(cut(rest, wide));
    lines
}

/// At most so wide; what is cut out is in the middle, so that its end can be told from those of others.
pub(crate) fn cut_within(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let head = cut(text, wide.div_ceil(2));
    let mut room = wide.saturating_sub(width(&head));
    let mut tail = Vec::new();
    let span = Span::raw(text);
    let graphemes: Vec<_> = span.styled_graphemes(Style::new()).collect();
    for grapheme in graphemes.iter().rev() {
        let taken = width(grapheme.symbol);
        if taken > room {
            break;
        }
        room -= taken;
        tail.push(grapheme.symbol);
    }
    tail.reverse();
    head + &tail.concat()
}

/// So wide, with blanks at its end.
pub(crate) fn left(text: &str, wide: usize) -> String {
    let text = cut(text, wide);
    let gap = " ".repeat(wide.saturating_sub(width(&text)));
    text + &gap
}

/// So wide, with blanks before it.
pub(crate) fn right(text: &str, wide: usize) -> String {
    let text = cut(text, wide);
    " ".repeat(wide.saturating_sub(width(&text))) + &text
}

fn used(sections: &[Section], units: &[usize]) -> usize {
    sections.iter().zip(units).map(|(section, units)| section.height(*units)).sum()
}

/// How many units of each section are shown.
fn shared_out(sections: &[Section], room: usize) -> Vec<usize> {
    let mut units = vec![0; sections.len()];
    loop {
        let before = units.clone();
        for index in 0..sections.len() {
            if units[index] < sections[index].units.len() {
                units[index] += 1;
                if used(sections, &units) > room {
                    units[index] -= 1;
                }
            }
        }
        if units == before {
            return units;
        }
    }
}

/// Exactly `high` lines, the last of them `footer`. Each section is shown in turn a unit more of, as long as there is room;
/// then blank lines go between sections.
pub(crate) fn fit(
    sections: Vec<Section>,
    footer: Row,
    (wide, high): (usize, usize),
    palette: Palette,
) -> Vec<Line<'static>> {
    let mut sections: Vec<_> = sections
        .into_iter()
        .filter(|one| !(one.head.is_empty() && one.units.is_empty() && one.foot.is_empty()))
        .collect();
    let room = high.saturating_sub(1);
    // A section of which nothing is shown but how much it has gives its line to those that matter more.
    let units = loop {
        let units = shared_out(&sections, room);
        let crowded = used(&sections, &units) > room
            || sections.iter().zip(&units).any(|(one, shown)| *shown == 0 && !one.units.is_empty());
        let sparest = (0..sections.len()).max_by_key(|index| sections[*index].spare);
        match sparest.filter(|index| crowded && sections[*index].spare > 0) {
            Some(index) => drop(sections.remove(index)),
            None => break units,
        }
    };
    let used = used(&sections, &units);
    let mut blanks = room.saturating_sub(used);
    let mut rows = Vec::new();
    for (index, (section, units)) in sections.into_iter().zip(units).enumerate() {
        if index > 0 && blanks > 0 {
            blanks -= 1;
            rows.push(Row::default());
        }
        rows.extend(section.rows(units));
    }
    rows.truncate(room);
    rows.resize_with(room, Row::default);
    if high > 0 {
        rows.push(footer);
    }
    rows.into_iter().map(|row| row.line(wide, palette)).collect()
}
