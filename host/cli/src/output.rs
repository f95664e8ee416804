//! Where results go: a table for a person or one JSON envelope for a program, failures in the same two forms, and
//! progress for whoever watches a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::Shell;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::args::Cli;
use crate::failure::{Exit, Failure};
use crate::text;

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One envelope: `{"ok":true,"data":…}`, or `{"ok":false,"error":{"code","title","detail","fix"}}`.
    Json,
}

/// Standard output for data and standard error for talk, in the form the user chose.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    colour: bool,
    terminal: bool,
}

impl Output {
    /// Looks at what the two streams are.
    pub(crate) fn new(format: Format) -> Self {
        let terminal = io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, colour, terminal }
    }

    /// Whether results are for a program.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Shows the result of a command: `data` in the envelope, or what `human` makes of it, whose line feeds stay and whose
    /// other control characters are spelled out.
    pub(crate) fn data<T: Serialize>(&self, data: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        if self.is_json() {
            let data = serde_json::to_value(data).map_err(|error| Failure::internal("cannot write JSON", &error))?;
            print(&json!({ "ok": true, "data": data }).to_string())
        } else {
            self.table(|| human(data))
        }
    }

    /// Shows something on standard output for people only, such as a result whose command then fails.
    pub(crate) fn table(&self, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.is_json() {
            return Ok(());
        }
        let shown = text::block(&human());
        if shown.is_empty() { Ok(()) } else { print(shown.trim_end_matches('\n')) }
    }

    /// Writes to a terminal as it is: what is from outside was made safe before.
    pub(crate) fn raw(shown: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| closed(&error))
    }

    /// Says something to the person watching; nothing with `-o json`.
    pub(crate) fn note(&self, said: &str) {
        if !self.is_json() {
            say(&text::block(said));
        }
    }

    /// Work that is mostly short: a spinner on a terminal, nothing elsewhere.
    pub(crate) fn waiting(&self, doing: &str) -> Progress {
        if self.terminal { self.progress(doing) } else { Progress(None) }
    }

    /// Work that takes a while: a spinner on a terminal, a plain line elsewhere, nothing with `-o json`.
    pub(crate) fn progress(&self, doing: &str) -> Progress {
        let doing = text::line(doing);
        if self.is_json() {
            return Progress(None);
        }
        if !self.terminal {
            say(&format!("{doing} …"));
            return Progress(None);
        }
        let bar = ProgressBar::new_spinner().with_message(doing);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} … {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(Some(bar))
    }

    /// Shows a failure, if it was one, and names the exit code.
    pub(crate) fn end(&self, ended: Result<Exit, Failure>) -> ExitCode {
        let failure = match ended {
            Ok(exit) => return ExitCode::from(exit as u8),
            Err(failure) => failure,
        };
        if failure.exit != Exit::Closed {
            if self.is_json() {
                let mut envelope = json!({ "ok": false, "error": failure });
                if let (Some(data), Some(object)) = (&failure.data, envelope.as_object_mut()) {
                    object.insert("data".to_owned(), Value::clone(data));
                }
                // A reader who has gone cannot be told anything more.
                let _ = print(&envelope.to_string());
            } else {
                say(&self.render(&failure));
            }
        }
        ExitCode::from(failure.exit as u8)
    }

    fn render(&self, failure: &Failure) -> String {
        let (strong, weak, plain) = if self.colour { ("\u{1b}[1;31m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
        let mut shown = format!("{strong}error{plain}: {} [{}]", text::line(&failure.title), text::line(&failure.code));
        for line in text::block(&failure.detail).lines() {
            shown.push_str("\n  ");
            shown.push_str(line);
        }
        for (at, line) in text::block(&failure.fix).lines().enumerate() {
            let _ = if at == 0 { write!(shown, "\n{weak}fix{plain}: {line}") } else { write!(shown, "\n     {line}") };
        }
        shown
    }

    /// Takes lines for standard output, whatever the form, and writes them on a thread of its own, which answers how that
    /// ended. A reader who stops reading is an end like another.
    pub(crate) fn lines() -> (mpsc::Sender<String>, JoinHandle<Result<(), Failure>>) {
        /// Lines that wait for the reader.
        const WAITING: usize = 64;
        let (sender, mut lines) = mpsc::channel::<String>(WAITING);
        let writer = std::thread::spawn(move || {
            let mut stdout = io::BufWriter::new(io::stdout().lock());
            while let Some(line) = lines.blocking_recv() {
                writeln!(stdout, "{line}").map_err(|error| closed(&error))?;
                while let Ok(line) = lines.try_recv() {
                    writeln!(stdout, "{line}").map_err(|error| closed(&error))?;
                }
                stdout.flush().map_err(|error| closed(&error))?;
            }
            Ok(())
        });
        (sender, writer)
    }

    /// Writes a completion script.
    pub(crate) fn completions(&self, shell: Shell) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "opsiq", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        if self.is_json() {
            let data = json!({ "shell": shell.to_string(), "script": script });
            self.data(&data, |_| String::new())?;
        } else {
            print(script.trim_end())?;
        }
        Ok(Exit::Done)
    }

    /// Names the versions that matter to someone reporting a problem.
    pub(crate) fn version(&self) -> Result<Exit, Failure> {
        let data = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "wit": opsiq_contract::component::WIT_PACKAGE,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        });
        self.data(&data, |data| {
            let part = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("opsiq {} ({}; {} {})", part("version"), part("wit"), part("os"), part("arch"))
        })?;
        Ok(Exit::Done)
    }
}

/// Ends its spinner when dropped.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Says how far it is, to a person at a terminal.
    pub(crate) fn at(&self, doing: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text::line(doing));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Shows what the parser said: help on standard output, a mistake on standard error, or in the envelope when the command line asked
/// for JSON before it stopped making sense.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let words: Vec<_> = std::env::args().collect();
    let json = words.iter().any(|word| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json"))
        || words.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json");
    if help || !json {
        let _ = error.print();
        return ExitCode::from(if help { Exit::Done } else { Exit::Usage } as u8);
    }
    let said = error.to_string();
    let mut lines = said.trim().lines();
    let title = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let detail = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    Output::new(Format::Json).end(Err(Failure::usage(title).detail(detail)))
}

/// One line, or several, on standard output.
fn print(shown: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{shown}").and_then(|()| stdout.flush()).map_err(|error| closed(&error))
}

/// What writing to standard output can end in: a reader who stopped reading is no fault of anyone's.
pub(crate) fn closed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::new(Exit::Closed, "cli.closed", "standard output was closed")
    } else {
        Failure::new(Exit::Unavailable, "cli.output", "cannot write to standard output").detail(error.to_string())
    }
}

/// One line, or several, on standard error; when even that is closed there is nobody left to tell.
pub(crate) fn say(said: &str) {
    let _ = writeln!(io::stderr().lock(), "{said}");
}
