//! The terminal while a run is watched: keys come in, lines go out, and however it ends the terminal is as it was.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::Colored;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::text::Line;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::StreamExt as _;

use super::tone::Palette;

/// Whether the terminal is ours, so that it is given back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that shows one screen.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<std::io::Stdout>>,
    keys: EventStream,
    signals: [Signal; 3],
}

/// What somebody does at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// They want to leave.
    Leave,
    /// This process is to end.
    End,
    /// The screen may be of another size, or look wrong: it is to be drawn.
    Draw,
}

impl Screen {
    /// Takes the terminal. Dropped, it gives it back.
    pub(crate) fn take() -> std::io::Result<Self> {
        let signals = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
        let [term, hup, int] = signals;
        let signals = [signal(term)?, signal(hup)?, signal(int)?];
        give_back_before_panics_are_told();
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let screen = execute!(std::io::stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(std::io::stdout())));
        match screen {
            Ok(terminal) => Ok(Self { terminal, keys: EventStream::new(), signals }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Whether colours may be used (<https://no-color.org>).
    pub(crate) fn palette() -> Palette {
        if Colored::ansi_color_disabled_memoized() { Palette::Plain } else { Palette::Colour }
    }

    /// Draws these lines, made for the size that the terminal has at that moment.
    pub(crate) fn draw(
        &mut self,
        lines: impl FnOnce((u16, u16)) -> Vec<Line<'static>>,
    ) -> std::io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            // A panic in a task of its own does not end this one; what it said is not to be drawn over.
            return Err(std::io::Error::other(
                "a part of this program failed, so the screen is gone",
            ));
        }
        queue!(std::io::stdout(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            let lines = lines((area.width, area.height));
            for (y, line) in (area.y..area.bottom()).zip(&lines) {
                frame.buffer_mut().set_line(area.x, y, line, area.width);
            }
        })?;
        execute!(std::io::stdout(), EndSynchronizedUpdate)
    }

    /// Waits until somebody does something.
    pub(crate) async fn input(&mut self) -> Input {
        let [term, hup, int] = &mut self.signals;
        loop {
            let event = tokio::select! {
                event = self.keys.next() => event,
                _ = term.recv() => return Input::End,
                _ = hup.recv() => return Input::End,
                _ = int.recv() => return Input::Leave,
            };
            match event {
                Some(Ok(Event::Key(key))) if leaves(key) => return Input::Leave,
                Some(Ok(Event::Resize(..) | Event::FocusGained)) => return Input::Draw,
                Some(Ok(_)) => {}
                // The terminal is gone.
                Some(Err(_)) | None => return Input::End,
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn leaves(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alone = [KeyCode::Char('q'), KeyCode::Char('Q'), KeyCode::Esc].contains(&key.code);
    let with_control = control && [KeyCode::Char('c'), KeyCode::Char('d')].contains(&key.code);
    key.kind != KeyEventKind::Release && (alone || with_control)
}

/// The terminal as it was; no effect when it is not ours.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = std::io::stdout();
    // When even that cannot be written, the terminal is gone.
    execute!(out, EndSynchronizedUpdate, LeaveAlternateScreen, Show).ok();
    disable_raw_mode().ok();
    out.flush().ok();
}

/// What a panic says is not lost with the screen.
fn give_back_before_panics_are_told() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
    });
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
