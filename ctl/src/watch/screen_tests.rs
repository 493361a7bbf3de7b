//! The screen at a terminal of its own: this very program is started there, and panics.

use std::io::Read as _;

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use ratatui::text::Line;

use super::*;

/// What was written to the terminal, whether the program ended well, and the terminal's settings before and after.
struct Seen {
    text: String,
    success: bool,
    settings: [String; 2],
}

/// Starts one test of this program at a terminal.
fn at_a_terminal(test: &str, place: &str) -> Seen {
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let settings = |master: &dyn MasterPty| format!("{:?}", master.get_termios().unwrap());
    let before = settings(&*pair.master);
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    // The last is the name of no test: it says to this program that it is at the terminal, and where to panic.
    command.args(["--exact", "--nocapture", "--test-threads=1", test, place]);
    command.env("TERM", "xterm-256color");
    command.env("RUST_BACKTRACE", "0");
    let mut child = pair.slave.spawn_command(command).unwrap();
    // Else the end of the child would not be the end of what can be read.
    drop(pair.slave);
    let mut out = pair.master.try_clone_reader().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = out.read(&mut bytes) {
            seen.extend_from_slice(&bytes[..length]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let success = child.wait().unwrap().success();
    let after = settings(&*pair.master);
    drop(pair.master);
    Seen { text: reader.join().unwrap(), success, settings: [before, after] }
}

impl Seen {
    /// The terminal is as it was, and the panic is told on the screen that stays.
    fn is_given_back(&self) {
        let Self { text, success, settings } = self;
        assert!(!success, "{text}");
        assert_eq!(settings[0], settings[1], "raw mode is off again: {text}");
        let last = |code: &str| text.rfind(code).unwrap_or_else(|| panic!("{code:?}: {text:?}"));
        let told = last("somebody's mistake");
        assert!(last("shown") < last("\u{1b}[?1049l"), "{text:?}");
        assert!(last("\u{1b}[?1049h") < last("\u{1b}[?1049l"), "{text:?}");
        assert!(last("\u{1b}[?1049l") < told, "{text:?}");
        assert!(last("\u{1b}[?25l") < last("\u{1b}[?25h"), "the cursor is shown: {text:?}");
    }
}

fn here(place: &str) -> bool {
    std::env::args().any(|argument| argument == place)
}

fn shown() -> Screen {
    let mut screen = Screen::take().unwrap();
    screen.draw(|_| vec![Line::from("shown")]).unwrap();
    screen
}

#[tokio::test]
async fn a_panic_is_told_on_the_terminal_as_it_was() {
    if here("in this task") {
        let _screen = shown();
        panic!("somebody's mistake");
    }
    let test = "watch::screen::tests::a_panic_is_told_on_the_terminal_as_it_was";
    at_a_terminal(test, "in this task").is_given_back();
}

#[tokio::test]
async fn nothing_is_drawn_over_a_panic_of_another_task() {
    if here("in another task") {
        let mut screen = shown();
        let panics = async { panic!("somebody's mistake") };
        tokio::spawn(panics).await.unwrap_err();
        screen.draw(|_| vec![Line::from("over it")]).unwrap();
        return;
    }
    let test = "watch::screen::tests::nothing_is_drawn_over_a_panic_of_another_task";
    let seen = at_a_terminal(test, "in another task");
    seen.is_given_back();
    assert!(!seen.text.contains("over it"), "{:?}", seen.text);
}
