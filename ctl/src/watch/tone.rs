//! Pure. What a text means, and how that looks with colour and without.

use ratatui::style::{Color, Modifier, Style};

/// What a text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A head, or what is looked for first.
    Strong,
    /// Of less weight.
    Dim,
    /// All is well.
    Good,
    /// Something is being done.
    Work,
    /// Should be known.
    Warning,
    /// Has gone wrong.
    Bad,
}

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Palette {
    /// The eight colours that every terminal has, in the shades its owner has chosen.
    Colour,
    /// None. Nothing is said by colour alone.
    Plain,
}

impl Tone {
    pub(crate) fn style(self, palette: Palette) -> Style {
        let style = Style::new();
        let colour = |colour: Color| match palette {
            Palette::Colour => style.fg(colour),
            Palette::Plain => style,
        };
        match self {
            Self::Plain => style,
            Self::Strong => style.add_modifier(Modifier::BOLD),
            Self::Dim => style.add_modifier(Modifier::DIM),
            Self::Good => colour(Color::Green),
            Self::Work => colour(Color::Cyan),
            Self::Warning => colour(Color::Yellow),
            Self::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}
