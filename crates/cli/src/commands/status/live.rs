//! The loop of `status --watch` on a terminal, which handles states, keys and signals as they come.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use uwwan_mbim::print::escape;
use uwwan_modem::Status;
use uwwan_modem::client::StatusClient;
use uwwan_modem::share::Reply;

use super::history::History;
use super::lines::{fields, head};
use super::view::View;
use crate::failure::{Failure, FailureKind};
use crate::output::say;
use crate::reach::interrupts;

/// Longest pause between two states of a running `up`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Action that a key or a change of the terminal asks for.
enum Input {
    /// The picture is drawn again, because the size has changed.
    Draw,
    /// The loop ends.
    End,
}

/// Terminal that is restored when this value is dropped.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows every state of the client until `q`, Ctrl-C or the end of the `up`.
///
/// # Errors
/// [`FailureKind::Host`] when the terminal fails, and those of the client.
pub fn run(client: StatusClient) -> Result<(), Failure> {
    let interrupted = interrupts()?;
    let failed = |error: io::Error| {
        Failure::new(FailureKind::Host, "cannot draw on the terminal")
            .because(error)
            .next("uwwan status without --watch prints plain lines")
    };
    let (states, told) = bounded(1);
    let (inputs, typed) = bounded(1);
    let thread = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let started = std::thread::Builder::new().name(name.into()).spawn(work);
        started.map(drop).map_err(failed)
    };
    thread("states", Box::new(move || pass_states(client, &states)))?;
    let mut screen = Screen(ratatui::try_init().map_err(failed)?);
    thread("keys", Box::new(move || pass_keys(&inputs)))?;
    let outcome = watch(&mut screen.0, &told, &typed, &interrupted);
    drop(screen);
    match outcome? {
        End::Asked => Ok(()),
        End::Stopped => say("uwwan has stopped"),
    }
}

/// Reason for the end of watching.
enum End {
    Asked,
    Stopped,
}

fn watch(
    terminal: &mut DefaultTerminal,
    told: &Receiver<Result<Reply, Failure>>,
    typed: &Receiver<Input>,
    interrupted: &Receiver<i32>,
) -> Result<End, Failure> {
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let start = Instant::now();
    let mut history = History::default();
    let mut shown: Option<(Reply, Status)> = None;
    loop {
        select! {
            recv(told) -> reply => match reply {
                Ok(reply) => {
                    let reply = reply?;
                    let status = reply.decode()?;
                    history.add(start.elapsed(), &status);
                    shown = Some((reply, status));
                }
                Err(_) => return Ok(End::Stopped),
            },
            recv(typed) -> input => match input {
                Ok(Input::Draw) => {}
                // Without keys there is still Ctrl-C, by its signal.
                Ok(Input::End) | Err(_) => return Ok(End::Asked),
            },
            recv(interrupted) -> _ => return Ok(End::Asked),
        }
        let Some((reply, status)) = &shown else {
            continue;
        };
        let head = escape(&head(status, reply));
        let fields: Vec<(String, String)> = fields(status, reply, None)
            .into_iter()
            .map(|(name, text)| (name, escape(&text)))
            .collect();
        let view = View {
            status,
            head: &head,
            fields: &fields,
            history: &history,
            colours,
        };
        terminal.draw(|frame| view.draw(frame)).map_err(|error| {
            Failure::new(FailureKind::Host, "cannot draw on the terminal").because(error)
        })?;
    }
}

/// Passes the states of the client on until the other end is gone.
fn pass_states(mut client: StatusClient, states: &Sender<Result<Reply, Failure>>) {
    while let Some(reply) = client.reply(PATIENCE).transpose() {
        let failed = reply.is_err();
        if states.send(reply).is_err() || failed {
            return;
        }
    }
}

/// Passes the events of the terminal on. A read that fails ends it.
fn pass_keys(inputs: &Sender<Input>) {
    loop {
        let input = match event::poll(Duration::from_secs(3600)).and_then(|come| match come {
            true => event::read().map(Some),
            false => Ok(None),
        }) {
            Ok(Some(Event::Resize(..))) => Input::Draw,
            Ok(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q' | 'Q') | KeyCode::Esc => Input::End,
                    KeyCode::Char('c' | 'C') if control => Input::End,
                    _ => continue,
                }
            }
            Ok(_) => continue,
            Err(_) => Input::End,
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}
