//! Pure. Ranges of a destination as a strip of cells, in the order of their keys.

use s3sync_proto::model::RangeState;

use super::tone::Tone;

/// A cell: what is drawn, and how.
pub(crate) type Cell = (char, Tone);

/// Shares of a cell that is partly done, from little to much.
const PARTLY: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];

/// The glyph of a state, which can be told from the others without colour.
pub(crate) fn glyph(state: RangeState) -> Cell {
    match state {
        RangeState::Waiting => ('·', Tone::Dim),
        RangeState::PutOff => ('~', Tone::Warning),
        RangeState::Held => ('▒', Tone::Work),
        RangeState::Done => ('█', Tone::Good),
        RangeState::GivenUp => ('!', Tone::Bad),
    }
}

/// The strip, `width` cells wide. Few ranges have several cells each; of many, each cell shows what matters most of those
/// that share it: given up before held before put off, else how much of them is done.
pub(crate) fn strip(states: &[RangeState], width: usize) -> Vec<Cell> {
    if states.is_empty() {
        return Vec::new();
    }
    let cell = |at: usize| {
        let from = at * states.len() / width;
        let until = ((at + 1) * states.len()).div_ceil(width).max(from + 1);
        merged(&states[from..until])
    };
    if states.len() <= width {
        return (0..width).map(|at| glyph(states[at * states.len() / width])).collect();
    }
    (0..width).map(cell).collect()
}

fn merged(states: &[RangeState]) -> Cell {
    let any = |state: RangeState| states.contains(&state);
    for state in [RangeState::GivenUp, RangeState::Held, RangeState::PutOff] {
        if any(state) {
            return glyph(state);
        }
    }
    let done = states.iter().filter(|state| **state == RangeState::Done).count();
    match done {
        0 => glyph(RangeState::Waiting),
        all if all == states.len() => glyph(RangeState::Done),
        some => (PARTLY[(some * PARTLY.len() / states.len()).min(PARTLY.len() - 1)], Tone::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(states: &str, width: usize) -> String {
        let states: Vec<_> = states
            .chars()
            .map(|c| match c {
                'w' => RangeState::Waiting,
                'p' => RangeState::PutOff,
                'h' => RangeState::Held,
                'd' => RangeState::Done,
                _ => RangeState::GivenUp,
            })
            .collect();
        strip(&states, width).into_iter().map(|(c, _)| c).collect()
    }

    #[test]
    fn few_ranges_share_the_width_and_of_many_the_worst_is_shown() {
        assert_eq!(text("", 8), "");
        assert_eq!(text("h", 8), "▒▒▒▒▒▒▒▒");
        assert_eq!(text("dhwpg", 10), "██▒▒··~~!!");
        assert_eq!(text("dhw", 8), "███▒▒▒··");
        assert_eq!(text("ddddddddwwwwwwww", 4), "██··");
        assert_eq!(text("dddwdwwwdhwwwwgp", 4), "▆▂▒!");
        assert_eq!(text("dddddddp", 2), "█~");
    }

    #[test]
    fn a_single_range_that_matters_is_seen_among_thousands() {
        for at in [0, 1, 2_047, 4_094, 4_095] {
            let mut states = vec![RangeState::Done; 4_096];
            states[at] = RangeState::GivenUp;
            let cells = strip(&states, 61);
            assert_eq!(cells.len(), 61);
            let seen = cells.iter().filter(|(c, _)| *c == '!').count();
            assert!((1..=2).contains(&seen), "{at}: {seen}");
        }
    }
}
